"""Real servers for tests, a module for each kind: PostgreSQL, Redis, Ceph, and emulators of S3 and DynamoDB."""
