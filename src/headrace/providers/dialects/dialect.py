"""What an API's dialect must be able to say of requests and of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from headrace.errors import CallError
from headrace.model import Cost, Quota, TokenAccounting, Usage
from headrace.wire import HttpRequest

Headers = Mapping[str, str]
"""Headers of an answer; looked up by lower-case names, so they must ignore case."""


class Asking(Protocol):
    """How requests are made, and what they cost."""

    @property
    def name(self) -> str:
        """Return the word by which a user chooses the dialect."""
        ...

    @property
    def check_paths(self) -> tuple[str, ...]:
        """Return what may be asked to see if an endpoint is well, cheapest first.

        Each is a GET that costs nothing and counts against no quota; empty if none is
        known.
        """
        ...

    def auth_headers(self, key: str | None) -> tuple[tuple[str, str], ...]:
        """Return the headers that carry the key, and those sent even without one."""
        ...

    def check(self, request: HttpRequest) -> str | None:
        """Return what is wrong with a request and what is allowed; None if it may go."""
        ...

    def describe(self, request: HttpRequest) -> tuple[str, Cost]:
        """Return the model asked for ("" if none), and the estimated cost."""
        ...

    def repeatable(self, request: HttpRequest) -> bool:
        """May it be sent again when it is unknown whether it was carried out?"""
        ...

    def streams(self, request: HttpRequest) -> bool:
        """Does it ask for an answer in chunks?"""
        ...


class Answering(Protocol):
    """How answers are understood; never waits, never raises but as stated."""

    def usage(self, body: bytes) -> Usage | None:
        """Return the tokens that a successful body reports; None if it says nothing.

        Raises:
            BadReply: the body is no answer of this dialect.
        """
        ...

    def event_usage(self, data: bytes) -> Usage | None:
        """Return the tokens that the data of one event of a stream reports."""
        ...

    def classify(
        self, status: int, headers: Headers, body: bytes, now: float
    ) -> CallError:
        """Return the error that an unsuccessful answer stands for.

        Args:
            status: below 200 or above 299.
            headers: of the answer.
            body: as it came, perhaps cut short.
            now: UTC seconds, to understand dates.
        """
        ...

    @property
    def token_accounting(self) -> TokenAccounting:
        """Say whether such a provider keeps what a call reserved, or what it used."""
        ...

    def quotas(self, headers: Headers, now: float) -> tuple[Quota, ...]:
        """Return what the headers say of the provider's limits; empty if nothing."""
        ...


class Dialect(Asking, Answering, Protocol):
    """One API's way of asking and answering."""
