"""A real Redis and a real disk."""
