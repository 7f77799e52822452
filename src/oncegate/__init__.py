"""Signed, single-use links for private object storage."""

__version__ = "0.1.0"
