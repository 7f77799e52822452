"""A file per command of oncegate."""
