"""The ledger postgresql: a table on a PostgreSQL server."""
