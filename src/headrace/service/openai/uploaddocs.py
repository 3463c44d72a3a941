"""What the API takes and gives for uploads: checked here, described by OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from headrace.service.documenting import Form, example
from headrace.service.openai.filedocs import ExpiresAfter, FileObject
from headrace.service.openai.purposes import Purpose
from headrace.service.openai.uploadstore import MAX_PARTS

_EXAMPLE: dict[str, Any] = {
    "bytes": 2_147_483_648,
    "filename": "in.jsonl",
    "mime_type": "application/jsonl",
    "purpose": "batch",
}
_UPLOAD: dict[str, Any] = {
    "id": "upload_abcdefghijklmnopqrstuvwx",
    "object": "upload",
    "bytes": 2_147_483_648,
    "created_at": 1_795_657_539,
    "expires_at": 1_795_661_139,
    "filename": "in.jsonl",
    "purpose": "batch",
    "status": "pending",
    "file": None,
}
_PART_ID = "part_abcdefghijklmnopqrstuvwx"
PartId = Annotated[str, Field(max_length=64)]


class UploadRequest(Form):
    """An upload as it is begun."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    bytes: int = Field(ge=0, le=2**62, description="Of the whole file.")
    filename: str = Field(min_length=1, max_length=255)
    mime_type: str = Field(max_length=255, description="Is not looked at.")
    purpose: Purpose
    expires_after: ExpiresAfter | None = Field(
        default=None, description="How long the file is kept."
    )


class UploadCompletion(Form):
    """Which parts make the file."""

    model_config = example(part_ids=[_PART_ID])

    part_ids: Annotated[list[PartId], Field(max_length=MAX_PARTS)] = Field(
        description="In the order of their bytes."
    )
    md5: str | None = Field(
        default=None,
        pattern="^[0-9a-fA-F]{32}$",
        description="Of the whole file, in hex; refused if the parts have another.",
    )


class UploadObject(BaseModel):
    """A file that comes in parts."""

    model_config = example(**_UPLOAD)

    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int = Field(description="UTC seconds.")
    expires_at: int = Field(description="Until then its parts must have come.")
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: FileObject | None = Field(description="Once it is completed.")


class UploadPartObject(BaseModel):
    """Some bytes of an upload."""

    model_config = example(
        id=_PART_ID,
        object="upload.part",
        created_at=_UPLOAD["created_at"],
        upload_id=_UPLOAD["id"],
    )

    id: str
    object: Literal["upload.part"]
    created_at: int = Field(description="UTC seconds.")
    upload_id: str


PART: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {"data": {"type": "string", "format": "binary"}},
                },
                "example": {"data": "some of its bytes"},
            }
        },
    }
}
