"""What the stack ``api`` tells its function: variables of Lambda, which hold at most 4 KB together."""

from __future__ import annotations

HANDLER = "oncegate.service.api_function.handler"
CONFIGURATION = "API_CONFIGURATION"
"""The configuration, as ``oncegate.toml`` has it."""
PUBLIC_KEYS = "API_PUBLIC_KEYS"
"""The key group: a JSON object of PEM texts by CloudFront's ids."""
AUTHORIZER = "API_AUTHORIZER"
"""``iam`` or ``jwt``: what every route has."""
SECRET = "API_SECRET"  # noqa: S105  a name
"""Drawn at deploy; callers' secrets are derived from it."""
VARIABLES_MAX_BYTES = 4_096
"""Names and values together. Source: Lambda quotas."""
