"""A referee for CloudFront: it serves a distribution on localhost as CloudFront would, and keeps what it saw.

It judges links and the edge function, so it reads signed URLs by code of its own (``signatures``), not by ``links/``,
whose work it judges; tests hold both against the same vectors.
"""
