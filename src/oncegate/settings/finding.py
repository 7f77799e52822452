"""Which configuration is meant where none was named: ``ONCEGATE_CONFIG``, ``./oncegate.toml``, or variables alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from oncegate.settings.reading import PREFIX, SettingsError, load
from oncegate.settings.tables import Settings

DEFAULT_CONFIG = "oncegate.toml"


def find(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration that is meant.

    Args:
        path: the file; None: the one that ``ONCEGATE_CONFIG`` names, else ``./oncegate.toml`` where it exists, else
            variables alone where there are any.
        environ: variables.

    Raises:
        SettingsError: there is none, or it cannot be used.
    """
    named = path or environ.get(PREFIX + "CONFIG")
    if named:
        return load(Path(named), environ)
    default = Path(DEFAULT_CONFIG)
    if default.exists():
        return load(default, environ)
    if not any(name.startswith(PREFIX) for name in environ):
        remedy = f"make one with 'oncegate init', or name one with --config or {PREFIX}CONFIG"
        raise SettingsError(f"no {DEFAULT_CONFIG} here", remedy=remedy)
    return load(None, environ)
