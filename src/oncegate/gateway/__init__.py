"""The viewer's listener: a bare ASGI callable that serves links."""
