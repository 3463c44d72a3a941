"""What the API takes and gives for files, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, Field


class FileObject(BaseModel):
    """A file."""

    id: str = Field(examples=["file-abcdefghijklmnopqrstuvwx"])
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

    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(BaseModel):
    """A file that is no more."""

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
                            "enum": [
                                "assistants",
                                "batch",
                                "fine-tune",
                                "vision",
                                "user_data",
                                "evals",
                            ],
                        },
                        "expires_after[anchor]": {
                            "type": "string",
                            "enum": ["created_at"],
                        },
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": 3_600,
                            "maximum": 2_592_000,
                        },
                    },
                }
            }
        },
    }
}
