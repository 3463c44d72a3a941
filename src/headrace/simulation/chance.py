"""Repeatable chance: a number that depends only on a seed, a counter and a place."""

from __future__ import annotations

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def uniform(seed: int, counter: int, place: int = 0) -> float:
    """Return u with 0 < u < 1, always the same for the same arguments.

    Source: SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number
    generators", figure 16), keyed instead of stepped.
    """
    z = (seed * 0xD1342543DE82EF95 + (counter * 16 + place + 1) * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (((z ^ (z >> 31)) >> 12) + 0.5) / (1 << 52)
