"""The ledger sqlite: one file on this machine's disk; the default."""
