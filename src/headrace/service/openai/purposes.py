"""What files are for, and what follows from it."""

from __future__ import annotations

from typing import Final, Literal, get_args

from headrace.service.errors import ApiError

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
PURPOSES: Final[tuple[str, ...]] = get_args(Purpose)
MIN_KEPT_S: Final = 3_600
MAX_KEPT_S: Final = 2_592_000
_KEPT_S: Final = {"batch": MAX_KEPT_S}


def kept_by_default_s(purpose: str) -> int | None:
    """Return for how long a file is kept unless somebody says otherwise; None = for ever."""
    return _KEPT_S.get(purpose)


def check_name(purpose: str, filename: str) -> None:
    """Refuse a file whose name says that it is not what it is for.

    Raises:
        ApiError: it is to be a batch, and no `.jsonl`.
    """
    is_other = "." in filename and not filename.lower().endswith(".jsonl")
    if purpose == "batch" and is_other:
        raise ApiError(
            400, "Invalid file format for Batch API. Must be .jsonl", param="file"
        )
