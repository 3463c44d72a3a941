"""What `headrace serve` tells its operator when it starts and when it stops."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.cli.words import count, duration
from headrace.config import ServeSettings
from headrace.model import Endpoint


def start_lines(
    settings: ServeSettings,
    endpoints: tuple[Endpoint, ...],
    url: str,
    *,
    needs_key: bool,
    queued: int,
) -> Iterator[str]:
    """Give what to know at the start, a line each.

    Args:
        settings: as they are in force.
        endpoints: where calls go; not empty.
        url: where the service answers.
        needs_key: does a client need a key of ours?
        queued: items of former jobs that have not begun.
    """
    # Not "key: …", which the log would take for a secret, and mask.
    key = "and a key of `headrace keys`" if needs_key else "and any api_key"
    is_memory = settings.store == ":memory:"
    yield f"calls go to {', '.join(endpoint.base_url for endpoint in endpoints)}"
    kept = "memory, as long as it runs" if is_memory else settings.store
    yield f"jobs are kept in {kept}"
    if queued:
        yield f"{_items(queued)} of former jobs wait, and go on now"
    if not needs_key:
        yield "nobody needs a key, so only this machine is heard; see `headrace keys add`"
    yield f"OpenAI clients take base_url {url}/v1 {key}; Ctrl-C stops"


def stopping_line(grace_s: float) -> str:
    """Return what a first signal leads to."""
    return (
        f"stopping: what is under way may end within {duration(grace_s)}; "
        "a second Ctrl-C cuts it off"
    )


def stopped_line(*, is_clean: bool, queued: int) -> str:
    """Return what was left behind.

    Args:
        is_clean: did all that was under way end?
        queued: items of jobs that have not begun.
    """
    cut = "nothing was cut off" if is_clean else "calls under way were cut off"
    if queued:
        return f"stopped: {cut}; {_items(queued)} of jobs go on at the next start"
    return f"stopped: {cut}"


def _items(number: int) -> str:
    return "1 item" if number == 1 else f"{count(number)} items"
