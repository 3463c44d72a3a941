"""What a batch needs of the files: to read its input, and to leave its results."""

from __future__ import annotations

from base64 import b32encode
from collections.abc import AsyncIterable, AsyncIterator
from hashlib import blake2b
from typing import Protocol

import msgspec


class NewFile(msgspec.Struct, frozen=True):
    """A file that the service itself makes.

    Args:
        id: `file-…`.
        tenant: whose it is.
        filename: shown to people.
        purpose: `batch` or `batch_output`.
        expires_after_s: seconds from its creation; None = as long as its purpose says.
    """

    id: str
    tenant: str
    filename: str
    purpose: str
    expires_after_s: int | None = None


class BatchFiles(Protocol):
    """The files of a service, as far as batches need them."""

    async def purpose(self, id: str, tenant: str | None) -> str | None:
        """Return what a file is for; None if this tenant has none of that id."""
        ...

    async def is_kept(self, id: str, tenant: str) -> bool:
        """Are the bytes of a file there, though its time may be over?"""
        ...

    def read(self, id: str) -> AsyncIterator[bytes]:
        """Give a file's bytes. Raises NotFound at the first piece if it is gone."""
        ...

    async def put(self, new: NewFile, chunks: AsyncIterable[bytes]) -> None:
        """Keep a file, in place of one with the same id; seen once it is whole."""
        ...


def file_id_of(batch_id: str, what: str) -> str:
    """Return the id of a batch's file, the same whenever it is asked for.

    Args:
        batch_id: `Batch.id`, which nobody can guess, so nor can they this.
        what: `output` or `errors`.
    """
    digest = blake2b(f"{batch_id}/{what}".encode(), digest_size=15).digest()
    return f"file-{b32encode(digest).decode().lower()}"
