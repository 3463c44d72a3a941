"""What the OpenAPI description says of refusals, the same for every router."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Answers = dict[int | str, dict[str, Any]]
"""What a route may answer, by status; FastAPI's `responses`."""


def example(**fields: Any) -> ConfigDict:
    """Return the settings of a model that shows an example of itself."""
    return ConfigDict(json_schema_extra={"example": fields})


class Form(BaseModel):
    """What is sent in a body: a number is no text, and no yes or no."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: Any) -> Any:
        """Take 5.0 for 5, as JSON does."""
        if not isinstance(given, dict):
            return given
        return {
            name: int(value) if type(value) is float and value.is_integer() else value
            for name, value in given.items()
        }


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str = Field(description="For people.")
    type: str = Field(description="The kind of error, such as invalid_request_error.")
    param: str | None = Field(description="The field or header that is wrong.")
    code: str | None = Field(description="A stable name of what went wrong.")


class ErrorEnvelope(BaseModel):
    """How every error is answered."""

    model_config = example(
        error={
            "message": "limit: given 0, allowed 1 or more",
            "type": "invalid_request_error",
            "param": "limit",
            "code": "invalid_value",
        }
    )

    error: ErrorBody


_EVENT = ("event", "id", "data")
WORDS = {
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


def answering(model: type[BaseModel], *statuses: int | str) -> Answers:
    """Return how a route that needs a key documents what it answers.

    Args:
        model: of the answer; its docstring describes it.
        statuses: of refusals that are its own.
    """
    said = (model.__doc__ or "").partition("\n")[0]
    return {200: {"model": model, "description": said}, **refusals(401, *statuses)}


def events(example: str) -> dict[str, Any]:
    """Return the content of an answer in server-sent events; there is no end to say."""
    text = {"type": "string"}
    event = {"type": "object", "properties": dict.fromkeys(_EVENT, text)}
    return {"text/event-stream": {"itemSchema": event, "example": example}}


def refusals(*statuses: int | str) -> Answers:
    """Return how a route documents the errors that it may answer.

    Args:
        statuses: such as 404, or `4XX` for whatever a provider may say.
    """
    return {
        status: {
            "model": ErrorEnvelope,
            "description": WORDS.get(status, "What the provider refuses.")
            if isinstance(status, int)
            else "What the provider refuses, as it says it.",
        }
        for status in statuses
    }
