"""The ledger dynamodb: one DynamoDB table."""
