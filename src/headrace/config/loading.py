"""Where settings come from: flags, then environment (`HEADRACE_…`), then a file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from headrace.config.endpoints import read_endpoints
from headrace.config.rules import flag_of
from headrace.config.section import ENV_PREFIX, RUN, SECTIONS, SERVE, Section
from headrace.config.serving import ServeSettings
from headrace.config.settings import DEFAULT_STORE, RunSettings
from headrace.errors import ConfigError

SETTINGS_FILE = "headrace.toml"

_STORE = "HEADRACE_STORE"
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
    """Merge and check what was set for a run.

    Args:
        flags: by setting; None means that the flag was not given.
        environ: the process's environment.
        folder: where `headrace.toml` may lie.

    Raises:
        ConfigError: names the setting, what was given and what is allowed.
    """
    found: RunSettings = _merged(RUN, flags, environ, folder)
    return found


def load_serving(
    flags: Mapping[str, object], environ: Mapping[str, str], folder: Path
) -> ServeSettings:
    """Merge and check what was set for a service; as `load_settings`.

    `HEADRACE_STORE` and a `store` above the tables of the file count here, too.

    Raises:
        ConfigError: names the setting, what was given and what is allowed.
    """
    found: ServeSettings = _merged(SERVE, flags, environ, folder)
    return found


def load_store(
    flag: str | None, environ: Mapping[str, str], folder: Path
) -> tuple[str, str]:
    """Return where jobs are kept, and which setting says so ("" = the default)."""
    for source, value in ((flag_of("store"), flag), (_STORE, environ.get(_STORE))):
        if value is not None:
            return cast("str", _checked(RUN, "store", source, value)), source
    found = _from_file(folder / SETTINGS_FILE, RUN).get("store")
    if found is not None:
        return cast("str", _checked(RUN, "store", *found)), found[0]
    return DEFAULT_STORE, ""


def _merged(
    section: Section,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    folder: Path,
) -> Any:
    """Return the settings of a section, from the weakest source to the strongest."""
    given = _from_file(folder / SETTINGS_FILE, section)
    key_env = _api_key_env(section, flags, environ, given)
    given.update(_from_environment(environ, section, key_env))
    for name, value in flags.items():
        if value is not None:
            given[name] = (flag_of(name), value)
    tables = given.pop(_ENDPOINT, None)
    values: dict[str, Any] = {
        name: _checked(section, name, *found) for name, found in given.items()
    }
    settings = section.kind(**values)
    _hold_in_flight(settings, given)
    if tables is not None:
        endpoints = read_endpoints(*tables, settings.limits)
        settings = msgspec.structs.replace(settings, endpoint=endpoints)
    for name, (is_there, needed) in _NEEDS.items():
        if name in given and not getattr(settings, is_there):
            raise ConfigError(
                f"{given[name][0]}: given without {flag_of(needed)}, which it needs"
            )
    return settings


# ---- where settings come from


def _from_file(path: Path, section: Section) -> dict[str, tuple[str, object]]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name}: cannot be read: {error}") from error
    _refuse_unknown(path.name, table, (*(s.name for s in SECTIONS), "store"))
    tables = {s.name: _table(path.name, table.pop(s.name, {}), s) for s in SECTIONS}
    found = {name: (f"{path.name}: {name}", value) for name, value in table.items()}
    for name, value in tables[section.name].items():
        found[name] = (f"{path.name} [{section.name}]: {name}", value)
    return found


def _table(place: str, table: object, section: Section) -> dict[str, object]:
    """Return one table of a file; unknown keys are refused in every table."""
    name = section.name
    if not isinstance(table, dict):
        raise ConfigError(f"{place}: {name}: given a value, allowed a table [{name}]")
    _refuse_unknown(f"{place} [{name}]", table, (*section.rules, _ENDPOINT))
    return table


def _from_environment(
    environ: Mapping[str, str], section: Section, key_env: str
) -> dict[str, tuple[str, object]]:
    found: dict[str, tuple[str, object]] = {}
    if _STORE in environ:
        found["store"] = (_STORE, environ[_STORE])
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX) or variable == key_env:
            continue
        name = section.setting_of(variable)
        if name is not None:
            found[name] = (variable, _listed(name, environ[variable]))
        elif not _is_known(variable):
            allowed = ", ".join(section.prefix + each.upper() for each in section.rules)
            raise ConfigError(
                f"{variable}: unknown environment variable, allowed {_KEY}, {allowed}"
            )
    return found


def _is_known(variable: str) -> bool:
    """Does it mean something to another command, or to the tests?"""
    return (
        variable == _KEY
        or variable.startswith(_TESTS)
        or any(section.setting_of(variable) for section in SECTIONS)
    )


def _listed(name: str, text: str) -> object:
    """Return the text of a variable, as a list where the setting is one."""
    mark = _LISTS.get(name)
    if mark is None:
        return text
    return [part.strip() for part in text.split(mark) if part.strip()]


def _api_key_env(
    section: Section,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    given: Mapping[str, tuple[str, object]],
) -> str:
    """Return the variable that holds the key, for it is no setting."""
    named = flags.get("api_key_env") or environ.get(f"{section.prefix}API_KEY_ENV")
    return str(named or given.get("api_key_env", ("", ""))[1])


def _refuse_unknown(
    place: str, table: Mapping[str, object], known: Iterable[str]
) -> None:
    for name in table:
        if name not in known:
            raise ConfigError(
                f"{place}: unknown key {name!r}, allowed {', '.join(sorted(known))}"
            )


def _checked(section: Section, name: str, source: str, value: object) -> object:
    rule = section.rules[name]
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
    settings: RunSettings | ServeSettings, given: Mapping[str, tuple[str, object]]
) -> None:
    most = settings.max_in_flight
    if isinstance(settings.in_flight, str) or settings.in_flight <= most:
        return
    raise ConfigError(
        f"{given['in_flight'][0]}: given {settings.in_flight}, "
        f"allowed 1 to {most} (--max-in-flight)"
    )
