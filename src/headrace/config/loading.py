"""Where settings come from: flags, then environment (`HEADRACE_…`), then a file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from headrace.config.endpoints import read_endpoints
from headrace.config.rules import RULES, flag_of
from headrace.config.settings import DEFAULT_STORE, RunSettings
from headrace.errors import ConfigError

SETTINGS_FILE = "headrace.toml"

_ENV_PREFIX = "HEADRACE_"
_KEY = "HEADRACE_API_KEY"
_TESTS = "HEADRACE_TEST_"
_LISTS = {"base_url": ",", "price": ",", "header": "\n", "fallback": "\n"}
"""Settings with several values, and what parts them in a variable."""
_ENDPOINT = "endpoint"
"""Tables of a file only; see `endpoints`."""
_NEEDS = {
    "budget_usd": ("has_prices", "price"),
    "cache_ttl": ("cache", "cache"),
    "cache_store": ("cache", "cache"),
}
"""Settings that do nothing without another one, by the field that says if it is there."""


def load_settings(
    flags: Mapping[str, object], environ: Mapping[str, str], folder: Path
) -> RunSettings:
    """Merge and check what was set.

    Args:
        flags: by setting; None means that the flag was not given.
        environ: the process's environment.
        folder: where `headrace.toml` may lie.

    Raises:
        ConfigError: names the setting, what was given and what is allowed.
    """
    given: dict[str, tuple[str, object]] = {}
    given.update(_from_file(folder / SETTINGS_FILE))
    given.update(_from_environment(environ, _api_key_env(flags, environ, given)))
    for name, value in flags.items():
        if value is not None:
            given[name] = (flag_of(name), value)
    tables = given.pop(_ENDPOINT, None)
    values: dict[str, Any] = {
        name: _checked(name, *found) for name, found in given.items()
    }
    settings = _hold_in_flight(RunSettings(**values), given)
    if tables is not None:
        endpoints = read_endpoints(*tables, settings.limits)
        settings = msgspec.structs.replace(settings, endpoint=endpoints)
    for name, (is_there, needed) in _NEEDS.items():
        if name in given and not getattr(settings, is_there):
            raise ConfigError(
                f"{given[name][0]}: given without {flag_of(needed)}, which it needs"
            )
    return settings


def load_store(
    flag: str | None, environ: Mapping[str, str], folder: Path
) -> tuple[str, str]:
    """Return where jobs are kept, and which setting says so ("" = the default)."""
    for source, value in (
        (flag_of("store"), flag),
        ("HEADRACE_STORE", environ.get("HEADRACE_STORE")),
    ):
        if value is not None:
            return cast("str", _checked("store", source, value)), source
    found = _from_file(folder / SETTINGS_FILE).get("store")
    if found is not None:
        return cast("str", _checked("store", *found)), found[0]
    return DEFAULT_STORE, ""


# ---- where settings come from


def _from_file(path: Path) -> dict[str, tuple[str, object]]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name}: cannot be read: {error}") from error
    run = table.pop("run", {})
    if not isinstance(run, dict):
        raise ConfigError(f"{path.name}: run: given a value, allowed a table [run]")
    _refuse_unknown(path.name, table, ("run", "store"))
    _refuse_unknown(f"{path.name} [run]", run, (*RULES, _ENDPOINT))
    found = {name: (f"{path.name}: {name}", value) for name, value in table.items()}
    for name, value in run.items():
        found[name] = (f"{path.name} [run]: {name}", value)
    return found


def _from_environment(
    environ: Mapping[str, str], key_env: str
) -> dict[str, tuple[str, object]]:
    found: dict[str, tuple[str, object]] = {}
    for variable in sorted(environ):
        name = variable.removeprefix(_ENV_PREFIX).lower()
        if not variable.startswith(_ENV_PREFIX) or variable == key_env:
            continue
        if name in RULES and variable == variable.upper():
            found[name] = (variable, _listed(name, environ[variable]))
        elif variable != _KEY and not variable.startswith(_TESTS):
            allowed = ", ".join(_ENV_PREFIX + each.upper() for each in RULES)
            raise ConfigError(
                f"{variable}: unknown environment variable, allowed {_KEY}, {allowed}"
            )
    return found


def _listed(name: str, text: str) -> object:
    """Return the text of a variable, as a list where the setting is one."""
    mark = _LISTS.get(name)
    if mark is None:
        return text
    return [part.strip() for part in text.split(mark) if part.strip()]


def _api_key_env(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    given: Mapping[str, tuple[str, object]],
) -> str:
    """Return the variable that holds the key, for it is no setting."""
    named = flags.get("api_key_env") or environ.get("HEADRACE_API_KEY_ENV")
    return str(named or given.get("api_key_env", ("", ""))[1])


def _refuse_unknown(
    place: str, table: Mapping[str, object], known: Iterable[str]
) -> None:
    for name in table:
        if name not in known:
            raise ConfigError(
                f"{place}: unknown key {name!r}, allowed {', '.join(sorted(known))}"
            )


def _checked(name: str, source: str, value: object) -> object:
    rule = RULES[name]
    try:
        found: object = rule.read(msgspec.convert(value, rule.kind, strict=False))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    except ValueError as error:
        raise ConfigError(
            f"{source}: given {_shown(value)}, allowed {rule.allowed}"
        ) from error
    return found


def _shown(value: object) -> str:
    text = str(value)
    return ascii(text if len(text) <= 80 else text[:80] + "…")


def _hold_in_flight(
    settings: RunSettings, given: Mapping[str, tuple[str, object]]
) -> RunSettings:
    most = settings.max_in_flight
    if isinstance(settings.in_flight, str) or settings.in_flight <= most:
        return settings
    raise ConfigError(
        f"{given['in_flight'][0]}: given {settings.in_flight}, "
        f"allowed 1 to {most} (--max-in-flight)"
    )
