"""The contracts between the engine and the world; each has one conformance suite."""

from __future__ import annotations

from headrace.ports.cache import Cache, CacheSize, Kept
from headrace.ports.documents import Document, Documents
from headrace.ports.files import Files
from headrace.ports.pieces import PIECE_BYTES, FilePieces
from headrace.ports.provider import Provider
from headrace.ports.store import (
    Control,
    Intake,
    Jobs,
    Learner,
    Leases,
    Notes,
    Pulse,
    Records,
    Sink,
    Store,
    Sums,
)

__all__ = [
    "PIECE_BYTES",
    "Cache",
    "CacheSize",
    "Control",
    "Document",
    "Documents",
    "FilePieces",
    "Files",
    "Intake",
    "Jobs",
    "Kept",
    "Learner",
    "Leases",
    "Notes",
    "Provider",
    "Pulse",
    "Records",
    "Sink",
    "Store",
    "Sums",
]
