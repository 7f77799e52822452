"""Signed requests to AWS: the signature, the talk as a generator, connections, credentials and endpoints."""
