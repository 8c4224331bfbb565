"""The screens, one module each: `router`, a question to the database, and a view for its template."""
