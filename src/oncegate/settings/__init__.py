"""The configuration: ``oncegate.toml`` and ``ONCEGATE_`` variables, read once into values that never change."""

from oncegate.settings.reading import SettingsError, load
from oncegate.settings.tables import Settings

__all__ = ["Settings", "SettingsError", "load"]
