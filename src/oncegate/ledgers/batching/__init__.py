"""One request for all that wait: shared by the ledgers that answer many callers at once."""
