"""Reads scenarios of whole runs: files of the user, and those that are shipped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
import yaml

from headrace.errors import ConfigError
from headrace.model import Retry
from headrace.simulation.conditions import within
from headrace.simulation.measures import MEASURES
from headrace.simulation.scenario import Scenario, scenario_from
from headrace.simulation.trial import Best, Group, OurLimits, Range, Trial

T = TypeVar("T", bound=msgspec.Struct)

KEYS = (
    "about",
    "upstream",
    "upstreams",
    "workload",
    "limits",
    "retry",
    "timeout_s",
    "jitter_s",
    "duration_s",
    "seeds",
    "best",
    "expect",
)
_MOST_SEEDS = 100
_MOST_UPSTREAMS = 32


def shipped() -> list[str]:
    """Return the names of the scenarios that come with Headrace, in order."""
    return sorted(name.removesuffix(".yaml") for name, _ in _files())


def load_shipped(name: str) -> Trial:
    """Read a scenario that comes with Headrace.

    Raises:
        ConfigError: there is none of this name.
    """
    for file, text in _files():
        if file == f"{name}.yaml":
            return parse_trial(text, name)
    raise ConfigError(
        f"scenario {name!r}: neither a file nor one of {', '.join(shipped())}"
    )


def _files() -> Iterator[tuple[str, str]]:
    folder = resources.files("headrace.simulation").joinpath("scenarios")
    for file in folder.iterdir():
        if file.name.endswith(".yaml"):
            yield file.name, file.read_text("utf-8")


def load_trial(path: Path) -> Trial:
    """Read a scenario file.

    Raises:
        ConfigError: it cannot be read, or holds something refused.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"scenario {path}: {error}") from error
    return parse_trial(text, path.stem)


def parse_trial(text: str, name: str) -> Trial:
    """Read a scenario from its YAML.

    Raises:
        ConfigError: it is no mapping, or holds an unknown key or a value not allowed;
            names the key, what was given and what is allowed.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"scenario {name}: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"scenario {name}: expected keys and values, one a line")
    try:
        return trial_from(found, name)
    except ConfigError as error:
        message = str(error).removeprefix("scenario: ")
        raise ConfigError(f"scenario {name}: {message}") from error


def trial_from(settings: Mapping[str, Any], name: str) -> Trial:
    """Make a scenario of a whole run from its settings.

    Raises:
        ConfigError: as `parse_trial`.
    """
    _check_keys("", settings, KEYS)
    workload = settings.get("workload", {})
    groups = workload if isinstance(workload, list) else [workload]
    trial = Trial(
        name=name,
        about=str(settings.get("about", name)),
        upstreams=_upstreams(settings),
        workload=tuple(_struct("workload", group, Group) for group in groups),
        limits=_struct("limits", settings.get("limits", {}), OurLimits),
        retry=_struct("retry", settings.get("retry", {}), Retry),
        timeout_s=_number(settings, "timeout_s", 600.0, 0.001, 86_400),
        jitter_s=_number(settings, "jitter_s", 0.0, 0, 60),
        duration_s=None
        if settings.get("duration_s") is None
        else _number(settings, "duration_s", 0.0, 0.001, 1_000_000),
        seeds=int(_number(settings, "seeds", 1, 1, _MOST_SEEDS)),
        best=_struct("best", _best(settings.get("best", {})), Best),
        expect=_expectations(settings.get("expect", {})),
    )
    _check_whole(trial)
    return trial


def _upstreams(settings: Mapping[str, Any]) -> dict[str, Scenario]:
    one, many = settings.get("upstream"), settings.get("upstreams")
    if (one is None) == (many is None):
        raise ConfigError("one of upstream and upstreams is needed")
    if many is None:
        return {"upstream": _upstream("upstream", one)}
    if not isinstance(many, dict) or not 1 <= len(many) <= _MOST_UPSTREAMS:
        raise ConfigError(f"upstreams: expected 1 to {_MOST_UPSTREAMS} names")
    return {
        str(name): _upstream(f"upstreams.{name}", given) for name, given in many.items()
    }


def _upstream(key: str, given: object) -> Scenario:
    if not isinstance(given, dict):
        raise ConfigError(f"{key} {given!r}: expected keys and values")
    try:
        return scenario_from(given)
    except ConfigError as error:
        message = str(error).removeprefix("scenario: ")
        raise ConfigError(f"{key}: {message}") from error


def _best(given: object) -> object:
    """Let `best: 64` and `best: [64, 16]` stand for the limits alone."""
    if isinstance(given, int):
        return {"in_flight": [given]}
    return {"in_flight": given} if isinstance(given, list) else given


def _expectations(given: object) -> dict[str, Range]:
    if not isinstance(given, dict):
        raise ConfigError(f"expect {given!r}: expected measures and their ranges")
    for key in given:
        if str(key).rpartition(".")[2] not in MEASURES:
            raise ConfigError(
                f"expect: unknown measure {key!r}; allowed: {', '.join(MEASURES)}"
            )
    return {key: _struct(f"expect.{key}", value, Range) for key, value in given.items()}


def _struct(key: str, given: object, kind: type[T]) -> T:
    """Turn a mapping into a struct, or say which key is wrong, and what is allowed."""
    if not isinstance(given, dict):
        raise ConfigError(f"{key} {given!r}: expected keys and values")
    _check_keys(key, given, kind.__struct_fields__)
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        place = re.search(r"`\$\.(\w+)", str(error))
        if place is None:
            raise ConfigError(f"{key}: {error}") from error
        words = get_args(get_type_hints(kind)[place[1]])
        is_word = all(isinstance(word, str) for word in words) and words
        allowed = f"; allowed: {', '.join(words)}" if is_word else ""
        what = f"{key}.{place[1]} {given.get(place[1])!r}"
        raise ConfigError(f"{what}: {error}{allowed}") from error


def _check_keys(where: str, given: Mapping[Any, Any], allowed: tuple[str, ...]) -> None:
    for key in given:
        if key not in allowed:
            prefix = f"{where}: " if where else ""
            raise ConfigError(
                f"{prefix}unknown key {key!r}; allowed: {', '.join(allowed)}"
            )


def _number(
    settings: Mapping[str, Any], key: str, default: float, least: float, most: float
) -> float:
    value = settings.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ConfigError(f"{key} {value!r} is not a number")
    try:
        within(key, value, least, most)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return value


def _check_whole(trial: Trial) -> None:
    """Refuse what is right in each part and wrong together."""
    names = [group.name for group in trial.workload]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"workload: names {names} are not one for each group")
    endless = [g.name for g in trial.workload if g.calls is None]
    if endless and trial.duration_s is None:
        raise ConfigError(
            f"workload: {endless[0]} has no number of calls, so duration_s is needed"
        )
    last_s = trial.edges_s[-1]
    if last_s and (trial.duration_s is None or last_s >= trial.duration_s):
        raise ConfigError(
            f"changes.at_s {last_s} is not before duration_s {trial.duration_s}"
        )
    _check_best(trial)
    for key in trial.expect:
        prefix = key.rpartition(".")[0]
        if prefix and prefix not in (*names, *trial.upstreams, *_phases(trial)):
            known = ", ".join((*names, *trial.upstreams, *_phases(trial)))
            raise ConfigError(f"expect: {key!r} is of none of {known}")


def _check_best(trial: Trial) -> None:
    for name in trial.best.without:
        if name not in trial.upstreams:
            known = ", ".join(trial.upstreams)
            raise ConfigError(f"best.without: no endpoint {name!r}; allowed: {known}")
    if len(trial.best.in_flight) not in (0, 1, len(trial.edges_s)):
        raise ConfigError(
            f"best.in_flight: {len(trial.best.in_flight)} numbers for "
            f"{len(trial.edges_s)} phases"
        )


def _phases(trial: Trial) -> list[str]:
    """Return the names of the phases that have measures of their own."""
    edges = trial.edges_s
    return [f"phase{n + 1}" for n in range(len(edges))] if len(edges) > 1 else []
