"""A route as a process serves it from a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from headrace.engine.crew import Crew
from headrace.engine.gate import Gate
from headrace.engine.keyed import Keyed
from headrace.jobs import Flow, Leased
from headrace.model import Call, Handler
from headrace.ports import Learner

MakeCall = Callable[[Leased, Flow], Call]
EncodeValue = Callable[[Any], bytes]


class Served(msgspec.Struct, frozen=True):
    """A route as this process serves it."""

    route: str
    gate: Gate
    handler: Handler
    crew: Crew
    make_call: MakeCall
    """Raises a ValueError if the payload is none of this route's."""
    encode_value: EncodeValue
    """Raises `BadReply` if a value cannot be kept as JSON."""
    learners: tuple[Learner, ...] = ()
    """What the route learns, kept for the next session."""
    keyed: Keyed | None = None
    """Says how many items may be leased whose keys have limits."""
