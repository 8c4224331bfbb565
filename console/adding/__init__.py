"""Adding work: a form with files that is read while it comes, and the batch that is made of it."""
