"""How files in pieces are kept and removed: each function is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from headrace.errors import StoreError
from headrace.stores import statements_pieces as of_pieces
from headrace.stores.packing import Packer
from headrace.stores.statement import Packing, Query, Steps

LEASE_S: Final = 600.0
"""After so long without a sign of life a writer or reader is taken for dead."""

REMOVED_AT_ONCE: Final = 100
"""Pieces that one transaction removes."""


def begin(id: str) -> Steps[int]:
    """Make a body that is being written."""
    rows = yield Query(of_pieces.begin, {"file": id, "lease_s": LEASE_S})
    return int(rows[0][0])


def add(body: int, number: int, piece: bytes) -> Steps[None]:
    """Append a piece; the body's row is locked first, so that none removes it."""
    if not (yield Query(of_pieces.hold, {"of_body": body, "lease_s": LEASE_S})):
        raise _over()
    pack: Packer = yield Packing()
    packed, data = pack.pack(piece)
    given = {"of_body": body, "of_number": number, "packed": packed, "data": data}
    yield Query(of_pieces.add, given)


def finish(body: int, size: int) -> Steps[None]:
    """Let a file name a body.

    The file's row orders those who do so at once: the later one sees, and retires, the
    body of the earlier one.
    """
    rows = yield Query(of_pieces.complete, {"of_body": body})
    if not rows:
        raise _over()
    of_file = {"file": rows[0][0], "of_body": body}
    yield Query(of_pieces.name, {**of_file, "new_size": size})
    yield Query(of_pieces.retire_others, {**of_file, "lease_s": LEASE_S})


def abandon(body: int) -> Steps[None]:
    """Let go of a body that was not finished."""
    yield Query(of_pieces.abandon, {"of_body": body})


def find(id: str) -> Steps[tuple[int, int] | None]:
    """Return a file's body and size."""
    rows = yield Query(of_pieces.find, {"file": id})
    return (int(rows[0][0]), int(rows[0][1])) if rows else None


def piece(body: int, number: int) -> Steps[bytes | None]:
    """Return a piece of a body."""
    rows = yield Query(of_pieces.piece, {"of_body": body, "of_number": number})
    pack: Packer = yield Packing()
    return pack.unpack(rows[0][0], bytes(rows[0][1])) if rows else None


def remove(id: str) -> Steps[bool]:
    """Forget a file; those who read it may do so to its end."""
    rows = yield Query(of_pieces.remove, {"file": id})
    if rows:
        given = {"file": id, "of_body": 0, "lease_s": LEASE_S}
        yield Query(of_pieces.retire_others, given)
    return bool(rows)


def renew(bodies: Sequence[int]) -> Steps[None]:
    """Renew the leases of bodies that are held."""
    given = {"bodies": sorted(bodies), "lease_s": LEASE_S}
    yield Query(of_pieces.renew, given)


def sweep() -> Steps[bool]:
    """Remove some pieces of a body that nobody holds; False if there is none."""
    rows = yield Query(of_pieces.left)
    if not rows:
        return False
    body = int(rows[0][0])
    given = {"of_body": body, "limit": REMOVED_AT_ONCE}
    if not (yield Query(of_pieces.remove_pieces, given)):
        yield Query(of_pieces.remove_body, {"of_body": body})
    return True


def _over() -> StoreError:
    return StoreError(
        f"files: nothing of this one came for {LEASE_S:.0f} s, so what there was is "
        "forgotten; send it again"
    )
