"""Views: what the API answers, as types."""
