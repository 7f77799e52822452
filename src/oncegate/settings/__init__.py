"""The configuration: ``oncegate.toml`` and ``ONCEGATE_`` variables, read once into values that never change."""

from oncegate.settings.tables import Settings, SettingsError, load

__all__ = ["Settings", "SettingsError", "load"]
