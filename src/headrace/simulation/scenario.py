"""How the simulated provider behaves, as one frozen value with every number checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec
import yaml

from headrace.errors import ConfigError
from headrace.simulation.conditions import (
    Change,
    FailureBursts,
    Knee,
    Others,
    Stragglers,
    within,
)
from headrace.simulation.distribution import parse_distribution
from headrace.simulation.meters import RateModel


class SlowStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For the first `for_s` seconds every latency is `factor` times as long."""

    for_s: float
    factor: float

    def __post_init__(self) -> None:
        within("slow_start.for_s", self.for_s, 0, math.inf)
        within("slow_start.factor", self.factor, 0, math.inf)


class Outage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From `from_s` to `to_s` seconds after the start nobody is served.

    `refuse` closes the port, `drop` cuts connections, `unavailable` answers 503.
    """

    from_s: float
    to_s: float
    kind: Literal["refuse", "drop", "unavailable"] = "unavailable"

    def __post_init__(self) -> None:
        within("outages.from_s", self.from_s, 0, math.inf)
        within("outages.to_s", self.to_s, self.from_s, math.inf)


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set.

    Args:
        seed: same seed, same decisions for the n-th call.
        latency: seconds from arrival to the last byte, see `distribution`.
        error_latency: likewise for injected errors; None = as for answers.
        refusal_s: seconds until a refusal is answered.
        cap: calls served at the same moment; `cap_mode` says what the next one meets.
        rpm: calls per minute; refused calls do not count.
        tpm: tokens per minute; input and `max_tokens`, or with `actual` what was used.
        default_max_tokens: what is reserved for a call that does not limit its output.
        output_tokens: length of answers, a distribution drawn by the prompt.
        error_rate: share of calls answered 500.
        error_rates: share of calls by status, 400 to 599.
        drop_rate: share whose connection breaks, before or within the answer.
        hang_rate: share that is never answered.
        malformed_rate: share answered 200 with broken JSON.
        knee: above how many calls at once everything takes longer.
        stragglers: calls that take much longer than the others.
        failure_bursts: failures that come together.
        rise_per_s: calls by which a second may exceed the one before; more are refused.
        others: other clients that use the same quota.
        changes: what changes in the course of time, in order.
        down: an outage from now until it is set back to `none`.
        models: names that are known; empty = any.
        require_key: environment variable with the key that calls must bear.
        headers: send `x-ratelimit-*`.
        headers_factor: what they say is so many times what holds.
        retry_after: send `Retry-After` where the wait is known.
        any_path: answer unknown paths like `/echo` instead of 404.
        max_ids: different item ids, and different bodies, that are counted; a change
            shows after the next reset.

    Raises:
        ValueError: a number outside its range; names the key.
    """

    seed: int = 0
    latency: str = "constant:0.05"
    error_latency: str | None = None
    refusal_s: float = 0.0
    cap: int | None = None
    cap_mode: Literal["refuse", "queue"] = "refuse"
    rpm: float | None = None
    tpm: float | None = None
    rate_model: RateModel = "token_bucket"
    token_accounting: Literal["reserved", "actual"] = "reserved"
    default_max_tokens: int = 256
    output_tokens: str = "constant:16"
    error_rate: float = 0.0
    error_rates: dict[int, float] = {}
    drop_rate: float = 0.0
    hang_rate: float = 0.0
    malformed_rate: float = 0.0
    slow_start: SlowStart | None = None
    outages: tuple[Outage, ...] = ()
    knee: Knee | None = None
    stragglers: Stragglers | None = None
    failure_bursts: FailureBursts | None = None
    rise_per_s: float | None = None
    others: Others | None = None
    changes: tuple[Change, ...] = ()
    down: Literal["none", "drop", "unavailable"] = "none"
    models: tuple[str, ...] = ()
    require_key: str | None = None
    headers: bool = True
    headers_factor: float = 1.0
    retry_after: bool = True
    any_path: bool = False
    max_ids: int = 2_000_000

    def __post_init__(self) -> None:
        for key in ("latency", "error_latency", "output_tokens"):
            _distribution(key, getattr(self, key))
        for key in ("cap", "rpm", "tpm", "default_max_tokens"):
            within(key, getattr(self, key), 1, math.inf)
        for key in ("error_rate", "drop_rate", "hang_rate", "malformed_rate"):
            within(key, getattr(self, key), 0, 1)
        within("max_ids", self.max_ids, 0, 100_000_000)
        within("refusal_s", self.refusal_s, 0, math.inf)
        within("rise_per_s", self.rise_per_s, 0.001, math.inf)
        within("headers_factor", self.headers_factor, 0, 1000)
        for status, share in self.error_rates.items():
            within("a status of error_rates", status, 400, 599)
            within(f"error_rates.{status}", share, 0, 1)
        total = self.failing_share
        if total > 1:
            raise ValueError(f"the rates of failure add up to {total:g}, more than 1")
        self._check_changes()

    def _check_changes(self) -> None:
        last_s = 0.0
        for change in self.changes:
            if change.at_s < last_s:
                raise ValueError(f"changes.at_s {change.at_s} is not >= {last_s:g}")
            last_s = change.at_s
        for _ in self.course():
            pass  # each change is checked on top of those before it

    def course(self) -> Iterator[tuple[float, Scenario]]:
        """Give each change as its moment and all that holds from then on.

        Raises:
            ConfigError: a change sets what cannot be set, or not so.
        """
        changes = self.changes
        now = msgspec.structs.replace(self, changes=()) if changes else self
        for change in changes:
            if "changes" in change.set:
                raise ValueError("changes.set must not hold changes")
            now = scenario_from(change.set, now)
            yield change.at_s, now

    @property
    def failing_share(self) -> float:
        """Share of calls that do not get a good answer by chance."""
        by_status = self.error_rate + sum(self.error_rates.values())
        return by_status + self.drop_rate + self.hang_rate + self.malformed_rate


def _distribution(key: str, text: str | None) -> None:
    if text is None:
        return
    try:
        parse_distribution(text)
    except ValueError as error:
        raise ValueError(f"{key} {error}") from None


def scenario_from(
    settings: Mapping[str, Any], base: Scenario | None = None
) -> Scenario:
    """Return `base`, or the defaults, with these settings.

    Raises:
        ConfigError: an unknown key, or a value not allowed; names key and what is.
    """
    allowed = Scenario.__struct_fields__
    for key in settings:
        if key not in allowed:
            raise ConfigError(
                f"scenario: unknown key {key!r}; allowed: {', '.join(allowed)}"
            )
    merged = {**msgspec.to_builtins(base or Scenario()), **settings}
    try:
        return msgspec.convert(merged, Scenario, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"scenario: {error}{_allowed_within(error)}") from error


def _allowed_within(error: msgspec.ValidationError) -> str:
    """Return what is allowed, if a nested key or a word was unknown."""
    for key, kind in _NESTED:
        if "unknown field" in str(error) and f"$.{key}" in str(error):
            return f"; allowed: {', '.join(kind.__struct_fields__)}"
    for key, hint in get_type_hints(Scenario).items():
        if "enum value" in str(error) and f"`$.{key}`" in str(error):
            return f"; allowed: {', '.join(get_args(hint))}"
    return ""


_NESTED: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("outages", Outage),
    ("slow_start", SlowStart),
    ("knee", Knee),
    ("stragglers", Stragglers),
    ("failure_bursts", FailureBursts),
    ("others", Others),
    ("changes", Change),
)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file (YAML).

    Raises:
        ConfigError: it cannot be read, is no YAML mapping, or holds something refused.
    """
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"scenario {path}: {error}") from error
    if found is None:
        found = {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ConfigError(f"scenario {path}: expected keys and values, one a line")
    return scenario_from(found)


def statuses(scenario: Scenario) -> Iterable[tuple[int, float]]:
    """Return the statuses injected by chance, each with its share."""
    if scenario.error_rate:
        yield 500, scenario.error_rate
    yield from sorted(scenario.error_rates.items())
