"""Where keys are found: the environment or a file, never the command line."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from headrace.config import RunSettings, ServeSettings
from headrace.errors import ConfigError

Keyed = RunSettings | ServeSettings

_OPENAI_DIALECTS = ("openai", "azure")
"""Nobody else is ever shown a key that was meant for OpenAI."""


def find_key(settings: Keyed, environ: Mapping[str, str]) -> str | None:
    """Return the key of all endpoints, or None where they need none.

    Plain HTTP APIs and addresses on this machine may go without.

    Raises:
        ConfigError: a key is missing, or cannot be one. Never shows it.
    """
    key, source = _named_key(settings, environ)
    if key is None:
        _refuse_keyless(settings)
        return None
    return _sound(key, source)


def find_own_keys(settings: Keyed, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of endpoints that name a variable of their own, by variable.

    Raises:
        ConfigError: a key is missing, or cannot be one. Never shows it.
    """
    found: dict[str, str] = {}
    for endpoint in settings.endpoint:
        name = endpoint.key_env
        if name is None:
            continue
        if not (key := environ.get(name, "").strip()):
            raise ConfigError(
                f"endpoint {endpoint.name}: api_key_env: the environment variable "
                f"{name} is not set or empty"
            )
        found[name] = _sound(key, name)
    return found


def _sound(key: str, source: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{source}: allowed is a key of printable ASCII, no spaces")
    return key


def _named_key(settings: Keyed, environ: Mapping[str, str]) -> tuple[str | None, str]:
    name = settings.api_key_env
    if name:
        if key := environ.get(name, "").strip():
            return key, name
        what = "is empty" if name in environ else "is not set"
        raise ConfigError(f"--api-key-env: the environment variable {name} {what}")
    if key := environ.get("HEADRACE_API_KEY", "").strip():
        return key, "HEADRACE_API_KEY"
    if settings.api_key_file:
        return _key_in(settings.api_key_file), settings.api_key_file
    if settings.dialect in _OPENAI_DIALECTS:
        return environ.get("OPENAI_API_KEY", "").strip() or None, "OPENAI_API_KEY"
    return None, ""


def _key_in(path: str) -> str:
    try:
        key = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise ConfigError(f"key file {path}: cannot be read: {reason}") from None
    if not key:
        raise ConfigError(f"key file {path}: is empty")
    return key


def _refuse_keyless(settings: Keyed) -> None:
    if settings.dialect == "http":
        return
    shared = [e.base_url for e in settings.endpoint if e.key_env is None]
    for url in (*settings.base_url, *shared):
        if not is_loopback(url):
            raise ConfigError(
                f"no key for {url}: set HEADRACE_API_KEY, or name the variable that "
                "holds it by --api-key-env"
            )


def is_loopback(url: str) -> bool:
    """Does this address stay on this machine?"""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
