"""The ledger s3: one small object per link in a bucket."""
