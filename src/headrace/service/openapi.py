"""The OpenAPI description, with what a key means for each route."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

_SCHEME = "key"
_SCHEMES = {
    _SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "hr_…",
        "description": "A key made by `headrace keys add` or `POST /api/v1/keys`. "
        "While no key was ever made, none is needed.",
    }
}
_REFUSALS = {
    "401": "No key, or one that is not known, was revoked or has expired.",
    "403": "The key may not do this.",
    "429": "The key, or everybody together, asks too much, or its budget is spent; "
    "`retry-after` says when to come again.",
}
_ENVELOPE = {
    "application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}
}


class DescribedApp(FastAPI):
    """An application whose description says how each route asks for a key.

    A route that documents 401 asks for one, and may refuse it by 403 and 429 as well.
    """

    def openapi(self) -> dict[str, Any]:
        """Return the description; made once."""
        if self.openapi_schema is None:
            described = super().openapi()
            described["components"]["securitySchemes"] = _SCHEMES
            for methods in described["paths"].values():
                for operation in methods.values():
                    if "401" in operation["responses"]:
                        _protect(operation)
        return super().openapi()


def _protect(operation: dict[str, Any]) -> None:
    operation["security"] = [{_SCHEME: []}]
    for status, words in _REFUSALS.items():
        refusal = {"description": words, "content": _ENVELOPE}
        operation["responses"].setdefault(status, refusal)
