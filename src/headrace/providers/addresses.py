"""Where calls go: base URLs, and how a line's path is put to them."""

from __future__ import annotations

from urllib.parse import urlsplit

from headrace.errors import ConfigError

_VERSION = "/v1"


def check_base_url(url: str) -> str:
    """Return a base URL without its trailing slashes.

    Raises:
        ConfigError: it is no http or https address, or holds credentials, a query or
            a fragment.
    """
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        raise ConfigError(f"base URL {_shown(url)!r} is no address") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_good:
        raise ConfigError(
            f"base URL {_shown(url)!r} is not of the form http://host[:port][/path]"
        )
    if "@" in parts.netloc:
        raise ConfigError(
            f"base URL {_shown(url)!r} holds credentials; keys come from the "
            "environment (--api-key-env) or a key file"
        )
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ConfigError(
            f"base URL {_shown(url)!r} must have no query and no fragment"
        )
    if any(not "!" <= char <= "~" for char in url) or "\\" in url:
        raise ConfigError(f"base URL {_shown(url)!r} holds spaces or odd characters")
    return url.rstrip("/")


def join_url(base_url: str, path: str) -> str:
    """Return the address of a path: a trailing and a leading `/v1` are one."""
    base = base_url.rstrip("/")
    if base.endswith(_VERSION) and (path == _VERSION or path.startswith("/v1/")):
        base = base[: -len(_VERSION)]
    return base + path


def host_of(url: str) -> str:
    """Return host and port of a URL for a message; never its credentials or query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
    return parts.netloc.rpartition("@")[2][:200] or "the same host"


def _shown(url: str) -> str:
    """Return a URL without what may be a secret."""
    scheme, mark, rest = url.partition("://")
    rest = rest if mark else scheme
    host, slash, path = rest.partition("/")
    bare = host.rpartition("@")[2] + slash + path.partition("?")[0]
    return (f"{scheme}{mark}{bare}" if mark else bare)[:200]
