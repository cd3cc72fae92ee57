"""Settings: a TOML file, overridden by the environment, validated once, then frozen."""

from gateway.settings.loading import (
    DEFAULT_FILE,
    is_configured,
    load,
    read_toml,
    setting_names,
    suspects,
    used_file,
)
from gateway.settings.sections import (
    ReportSettings,
    ServerSettings,
    Settings,
    SettingsError,
    SsoSettings,
    StateSettings,
    UpstreamSettings,
)

__all__ = [
    "DEFAULT_FILE", "ReportSettings", "ServerSettings", "Settings", "SettingsError",
    "SsoSettings", "StateSettings", "UpstreamSettings", "is_configured", "load", "read_toml",
    "setting_names", "suspects", "used_file",
]  # fmt: skip
