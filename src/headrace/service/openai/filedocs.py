"""What the API takes and gives for files, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from headrace.service.documenting import Form, example
from headrace.service.openai.purposes import MAX_KEPT_S, MIN_KEPT_S, PURPOSES

_LINE = (
    '{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m",'
    '"messages":[{"role":"user","content":"Say hello."}]}}\n'
)


class ExpiresAfter(Form):
    """How long a file is kept."""

    anchor: Literal["created_at"] = Field(
        description="Counted from the file's creation."
    )
    seconds: int = Field(ge=MIN_KEPT_S, le=MAX_KEPT_S, description="Seconds.")


FILE: Final[dict[str, Any]] = {
    "id": "file-abcdefghijklmnopqrstuvwx",
    "object": "file",
    "bytes": 170,
    "created_at": 1_795_657_539,
    "filename": "in.jsonl",
    "purpose": "batch",
    "status": "processed",
    "expires_at": 1_798_249_539,
    "status_details": None,
}
"""An example."""


class FileObject(BaseModel):
    """A file."""

    model_config = example(**FILE)

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int = Field(description="UTC seconds.")
    filename: str
    purpose: str
    status: Literal["processed"]
    expires_at: int | None
    status_details: None


class FilePage(BaseModel):
    """Some files."""

    model_config = example(
        object="list",
        data=[FILE],
        first_id=FILE["id"],
        last_id=FILE["id"],
        has_more=False,
    )

    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(BaseModel):
    """A file that is no more."""

    model_config = example(id=FILE["id"], object="file", deleted=True)

    id: str
    object: Literal["file"]
    deleted: Literal[True]


UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {
                            "type": "string",
                            "enum": list(PURPOSES),
                        },
                        "expires_after[anchor]": {
                            "type": "string",
                            "enum": ["created_at"],
                        },
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": MIN_KEPT_S,
                            "maximum": MAX_KEPT_S,
                        },
                    },
                },
                "example": {"purpose": "batch", "file": _LINE},
            }
        },
    }
}
