"""What makes spans of calls: where a tracer hooks in."""

from __future__ import annotations

import msgspec

from headrace.model import Layer


class Tracing(msgspec.Struct, frozen=True):
    """The layers that a tracer puts around calls.

    Args:
        calls: outermost: one call with all its tries.
        attempts: innermost: one try, its wait at the gate included.
    """

    calls: Layer
    attempts: Layer
