"""How long things take, as a word: `constant:S`, `lognormal:MEAN[:CV]`, `bimodal:…`."""

from __future__ import annotations

import math
from statistics import NormalDist

import msgspec

ALLOWED = "constant:VALUE, lognormal:MEAN[:CV] or bimodal:FAST:SLOW:SHARE"
_NORMAL = NormalDist()


class Constant(msgspec.Struct, frozen=True):
    """Always the same."""

    value: float

    def at(self, u: float) -> float:
        return self.value


class Lognormal(msgspec.Struct, frozen=True):
    """Skewed to the right, given by its logarithm's mean and deviation."""

    mu: float
    sigma: float

    def at(self, u: float) -> float:
        return math.exp(self.mu + self.sigma * _NORMAL.inv_cdf(u))


class Bimodal(msgspec.Struct, frozen=True):
    """Mostly `fast`; a share is `slow`."""

    fast: float
    slow: float
    share: float

    def at(self, u: float) -> float:
        return self.slow if u < self.share else self.fast


Distribution = Constant | Lognormal | Bimodal
"""`at(u)` turns a uniform 0 < u < 1 into a value."""


def parse_distribution(text: str) -> Distribution:
    """Read a distribution; a bare number means constant.

    Raises:
        ValueError: names what was given and what is allowed.
    """
    kind, *rest = text.split(":")
    try:
        if not rest:
            return _constant([float(kind)])
        return _KINDS[kind]([float(part) for part in rest])
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{text!r} is none of {ALLOWED}, numbers >= 0") from error


def _checked(values: list[float], least: int, most: int) -> list[float]:
    if not least <= len(values) <= most:
        raise ValueError("wrong number of values")
    if not all(math.isfinite(value) and value >= 0 for value in values):
        raise ValueError("not a finite number >= 0")
    return values


def _constant(values: list[float]) -> Distribution:
    return Constant(*_checked(values, 1, 1))


def _lognormal(values: list[float]) -> Distribution:
    mean, cv = (*_checked(values, 1, 2), 0.5)[:2]
    if mean == 0 or cv == 0:
        return Constant(mean)
    variance = math.log1p(cv * cv)
    return Lognormal(math.log(mean) - variance / 2, math.sqrt(variance))


def _bimodal(values: list[float]) -> Distribution:
    fast, slow, share = _checked(values, 3, 3)
    if share > 1:
        raise ValueError("a share is at most 1")
    return Bimodal(fast, slow, share)


_KINDS = {"constant": _constant, "lognormal": _lognormal, "bimodal": _bimodal}
