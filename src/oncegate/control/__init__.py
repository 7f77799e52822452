"""The control API: the private listener, where links are made, listed and revoked."""
