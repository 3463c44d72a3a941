"""Settings: flags, then environment (`HEADRACE_…`), then `headrace.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta

from headrace.errors import ConfigError
from headrace.jobs import FailurePolicy
from headrace.model import Limits, Priority, Retry
from headrace.providers.addresses import check_base_url
from headrace.providers.dialects import dialect_named
from headrace.wire import check_headers

SETTINGS_FILE = "headrace.toml"
DEFAULT_STORE = "headrace.db"
DEFAULT_IN_FLIGHT = 32

_ENV_PREFIX = "HEADRACE_"
_KEY = "HEADRACE_API_KEY"
_TESTS = "HEADRACE_TEST_"
_CONTROLLERS = ("auto", "aimd", "throughput", "cpu")
_MAX_S = 10.0 * 366 * 86_400
_MAX_RATE = 1e12

_Seconds = Annotated[float, Meta(gt=0, le=_MAX_S)]
_Rate = Annotated[float, Meta(gt=0, le=_MAX_RATE)]
_Count = Annotated[int, Meta(ge=1)]

_ABOVE_0_S = "seconds above 0"
_AT_LEAST_1 = "a whole number from 1"


class RunSettings(msgspec.Struct, frozen=True):
    """How a run is made; names are those of the flags."""

    base_url: tuple[str, ...] = ()
    dialect: str = "openai"
    model: str = ""
    api_key_env: str = ""
    api_key_file: str = ""
    header: tuple[tuple[str, str], ...] = ()
    rpm: float | None = None
    tpm: float | None = None
    in_flight: int = DEFAULT_IN_FLIGHT
    max_in_flight: int = 512
    strategy: str = "headroom"
    timeout: float = 600.0
    deadline: float | None = None
    max_attempts: int = 5
    patience: float = 900.0
    on_failure: FailurePolicy = FailurePolicy()
    priority: Priority = Priority.NORMAL
    budget_usd: float | None = None
    cache: bool = False
    limit: int | None = None
    skip_bad_lines: bool = False
    max_line_bytes: int = 16 * 2**20
    store: str = DEFAULT_STORE
    json: bool = False

    @property
    def limits(self) -> Limits:
        """What each endpoint may be asked for."""
        return Limits(self.in_flight, self.rpm, self.tpm)

    @property
    def retry(self) -> Retry:
        return Retry(max_attempts=self.max_attempts)


class _Rule(msgspec.Struct, frozen=True):
    """What one setting may be.

    Args:
        kind: its type, with bounds.
        allowed: the same for people.
        read: turns it into what `RunSettings` holds; a ValueError or ConfigError
            refuses it.
    """

    kind: Any
    allowed: str
    read: Callable[[Any], Any] = lambda value: value


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
            given[name] = (_flag(name), value)
    values: dict[str, Any] = {
        name: _checked(name, *found) for name, found in given.items()
    }
    return _settle_in_flight(RunSettings(**values), given)


def load_store(
    flag: str | None, environ: Mapping[str, str], folder: Path
) -> tuple[str, str]:
    """Return where jobs are kept, and which setting says so ("" = the default)."""
    for source, value in (
        (_flag("store"), flag),
        ("HEADRACE_STORE", environ.get("HEADRACE_STORE")),
    ):
        if value is not None:
            return cast("str", _checked("store", source, value)), source
    found = _from_file(folder / SETTINGS_FILE).get("store")
    if found is not None:
        return cast("str", _checked("store", *found)), found[0]
    return DEFAULT_STORE, ""


def split_header(text: str) -> tuple[str, str]:
    """Read `Name: value`.

    Raises:
        ConfigError: it cannot be sent, or is a credential. Its value is not shown, for
            it may be a secret.
    """
    name, colon, value = text.partition(":")
    if not colon:
        raise ConfigError(f"given {name[:40]!r}, allowed 'Name: value'")
    header = (name.strip(), value.strip())
    if wrong := check_headers([header]):
        hint = "" if "credential" not in wrong else "; name it by --api-key-env"
        raise ConfigError(f"given {header[0][:40]!r}: {wrong}{hint}")
    return header


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
    _refuse_unknown(f"{path.name} [run]", run, _RULES)
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
        if name in _RULES and variable == variable.upper():
            found[name] = (variable, _listed(name, environ[variable]))
        elif variable != _KEY and not variable.startswith(_TESTS):
            allowed = ", ".join(_ENV_PREFIX + each.upper() for each in _RULES)
            raise ConfigError(
                f"{variable}: unknown environment variable, allowed {_KEY}, {allowed}"
            )
    return found


def _listed(name: str, text: str) -> object:
    """Return the text of a variable, as a list where the setting is one."""
    if name == "base_url":
        return [part.strip() for part in text.split(",") if part.strip()]
    if name == "header":
        return [line for line in text.splitlines() if line.strip()]
    return text


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


# ---- what settings may be


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _checked(name: str, source: str, value: object) -> object:
    rule = _RULES[name]
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


def _settle_in_flight(
    settings: RunSettings, given: Mapping[str, tuple[str, object]]
) -> RunSettings:
    most = settings.max_in_flight
    if settings.in_flight <= most:
        return settings
    if "in_flight" not in given:
        return msgspec.structs.replace(settings, in_flight=most)
    raise ConfigError(
        f"{given['in_flight'][0]}: given {settings.in_flight}, "
        f"allowed 1 to {most} (--max-in-flight)"
    )


def _in_flight(value: int | str) -> int:
    if isinstance(value, str):
        if value in _CONTROLLERS:
            raise ConfigError(_not_yet(value, f"{_AT_LEAST_1} to --max-in-flight"))
        value = int(value)
    if value < 1:
        raise ValueError("below 1")
    return value


def _strategy(value: str) -> str:
    if value != "headroom":
        raise ConfigError(_not_yet(value, "headroom"))
    return value


def _cache(value: bool) -> bool:  # noqa: FBT001  a setting is a value
    if value:
        raise ConfigError(_not_yet("the cache", "no cache"))
    return value


def _budget(value: float) -> float:
    raise ConfigError(_not_yet(f"a budget of {value:g}", "no budget"))


def _not_yet(what: str, allowed: str) -> str:
    return f"given {what}, which is not there yet; allowed {allowed}"


def _dialect(value: str) -> str:
    return dialect_named(value).name


def _file(value: str) -> str:
    if not value.strip():
        raise ValueError("empty")
    return value


_TEXTS = tuple[str, ...] | str


def _base_urls(values: tuple[str, ...] | str) -> tuple[str, ...]:
    given = (values,) if isinstance(values, str) else values
    urls = tuple(check_base_url(value) for value in given)
    if len(set(urls)) < len(urls):
        raise ConfigError("the same address stands twice, allowed each once")
    return urls


def _headers(values: tuple[str, ...] | str) -> tuple[tuple[str, str], ...]:
    given = (values,) if isinstance(values, str) else values
    return tuple(split_header(value) for value in given)


_PRIORITIES = ", ".join(priority.name.lower() for priority in Priority)

_RULES: Mapping[str, _Rule] = {
    "base_url": _Rule(_TEXTS, "http://host[:port][/path]", _base_urls),
    "dialect": _Rule(str, "a dialect's name", _dialect),
    "model": _Rule(str, "a model's name"),
    "api_key_env": _Rule(str, "the name of an environment variable", _file),
    "api_key_file": _Rule(str, "the path of a file that holds the key", _file),
    "header": _Rule(_TEXTS, "'Name: value'", _headers),
    "rpm": _Rule(_Rate, "calls per minute, a number above 0"),
    "tpm": _Rule(_Rate, "tokens per minute, a number above 0"),
    "in_flight": _Rule(
        Annotated[int, Meta(ge=1)] | str,
        f"{_AT_LEAST_1} to --max-in-flight",
        _in_flight,
    ),
    "max_in_flight": _Rule(_Count, _AT_LEAST_1),
    "strategy": _Rule(str, "headroom", _strategy),
    "timeout": _Rule(_Seconds, _ABOVE_0_S),
    "deadline": _Rule(_Seconds, _ABOVE_0_S),
    "max_attempts": _Rule(_Count, _AT_LEAST_1),
    "patience": _Rule(_Seconds, _ABOVE_0_S),
    "on_failure": _Rule(
        str, "keep, all, or a share between 0 and 1", FailurePolicy.parse
    ),
    "priority": _Rule(str, _PRIORITIES, Priority.parse),
    "budget_usd": _Rule(_Rate, "a number above 0", _budget),
    "cache": _Rule(bool, "true or false", _cache),
    "limit": _Rule(_Count, _AT_LEAST_1),
    "skip_bad_lines": _Rule(bool, "true or false"),
    "max_line_bytes": _Rule(_Count, _AT_LEAST_1),
    "store": _Rule(str, "a path or a postgresql:// address", _file),
    "json": _Rule(bool, "true or false"),
}
