"""Settings: flags, then environment (`HEADRACE_…`), then `headrace.toml`."""

from __future__ import annotations

from headrace.config.loading import load_serving, load_settings, load_store
from headrace.config.serving import ServeSettings
from headrace.config.settings import RunSettings

__all__ = [
    "RunSettings",
    "ServeSettings",
    "load_serving",
    "load_settings",
    "load_store",
]
