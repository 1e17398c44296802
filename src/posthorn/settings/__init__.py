"""Settings: one frozen value, from flags, environment and defaults, checked whole before the start."""

from posthorn.settings.declared import SETTINGS, LogFormat, LogLevel, Setting, Settings
from posthorn.settings.parsing import Network
from posthorn.settings.sources import CLIENT_VARIABLES, read_settings

__all__ = [
    "CLIENT_VARIABLES",
    "SETTINGS",
    "LogFormat",
    "LogLevel",
    "Network",
    "Setting",
    "Settings",
    "read_settings",
]
