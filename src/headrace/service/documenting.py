"""What the OpenAPI description says of refusals, the same for every router."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

Answers = dict[int | str, dict[str, Any]]
"""What a route may answer, by status; FastAPI's `responses`."""


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str = Field(description="For people.")
    type: str = Field(description="The kind of error, such as invalid_request_error.")
    param: str | None = Field(description="The field or header that is wrong.")
    code: str | None = Field(description="A stable name of what went wrong.")


class ErrorEnvelope(BaseModel):
    """How every error is answered."""

    error: ErrorBody


_WORDS = {
    400: "The request is refused.",
    401: "No key, or one that is not known.",
    403: "The key may not do this.",
    404: "There is no such thing.",
    405: "This method is not allowed here.",
    408: "The request came too slowly.",
    409: "Its state does not allow this.",
    413: "The body is too large.",
    415: "The body is of a type that is not understood.",
    416: "No byte of the file lies in that range.",
    422: "A field has not the form that is demanded.",
    429: "Too much at once; `retry-after` says when to come again.",
    431: "The headers are too large.",
    500: "A fault of headrace itself.",
    502: "The provider could not be reached, or gave no answer.",
    503: "The service or the provider cannot answer now.",
    504: "The provider did not answer in time.",
}


def refusals(*statuses: int | str) -> Answers:
    """Return how a route documents the errors that it may answer.

    Args:
        statuses: such as 404, or `4XX` for whatever a provider may say.
    """
    return {
        status: {
            "model": ErrorEnvelope,
            "description": _WORDS.get(status, "What the provider refuses.")
            if isinstance(status, int)
            else "What the provider refuses, as it says it.",
        }
        for status in statuses
    }
