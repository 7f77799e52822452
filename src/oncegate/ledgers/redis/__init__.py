"""The ledger redis: Redis or Valkey."""
