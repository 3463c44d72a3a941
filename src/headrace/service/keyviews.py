"""Keys as programs read them; never the key itself, nor its digest."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.policies.budget import usd_of
from headrace.policies.window import span_of
from headrace.service.keybook import KeyUse
from headrace.service.keys import Key


def key_view(key: Key, use: KeyUse, now: float) -> dict[str, Any]:
    """Return what is known of a key.

    Args:
        key: see there.
        use: how it was used.
        now: UTC seconds; what was spent before the present span is not shown.
    """
    fields: dict[str, Any] = msgspec.to_builtins(key)
    del fields["digest"]
    if key.budget is not None:
        is_now = use.span == span_of(key.budget.window, now)
        fields["budget"] = {
            "usd": float(key.budget.usd),
            "window": key.budget.window,
            "spent_usd": float(usd_of(use.nano if is_now else 0)),
        }
    return {"object": "key", **fields, "used_at": use.used_at}
