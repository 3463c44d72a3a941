"""Puts layers around a handler."""

from __future__ import annotations

from headrace.model import Handler, Layer


def stack(handler: Handler, *layers: Layer) -> Handler:
    """Wrap `handler` in `layers`; the first one given is the outermost."""
    for layer in reversed(layers):
        handler = layer(handler)
    return handler
