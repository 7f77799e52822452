"""What oncegate doctor looks at, and what to do about what it finds."""
