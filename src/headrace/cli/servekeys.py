"""The keys of a service's endpoints, which may change while it runs."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.cli.keys import find_key, find_own_keys
from headrace.config import ServeSettings
from headrace.model import Endpoint


class EndpointKeys:
    """Finds the key of each endpoint, in the environment or in a file.

    Args:
        settings: where the keys are.
        environ: of the process; it does not change, but the file may.

    Raises:
        ConfigError: a key is missing, or cannot be one.
    """

    def __init__(self, settings: ServeSettings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._shared = find_key(settings, environ)
        self._own = find_own_keys(settings, environ)

    @property
    def secrets(self) -> list[str]:
        """All that must not be shown; may be empty."""
        return [key for key in (self._shared, *self._own.values()) if key]

    def of(self, endpoint: Endpoint) -> str | None:
        """Return the key of an endpoint; None if it needs none."""
        name = endpoint.key_env
        if name is None or (name and name == self._settings.api_key_env):
            return self._shared
        return self._own.get(name)

    def read_again(self) -> bool:
        """Look for the keys anew; return whether one is another now.

        Raises:
            ConfigError: it cannot be used; the former one stays.
        """
        former, self._shared = self._shared, find_key(self._settings, self._environ)
        return former != self._shared
