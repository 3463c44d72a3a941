"""Keys of the service: made once, shown once, kept only as a digest.

A key is 256 random bits, so its SHA-256 cannot be guessed back; no salt is needed.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

import msgspec

from headrace.clock import Clock
from headrace.errors import ConfigError, NotFound
from headrace.ports import Documents
from headrace.ports.documents import Document
from headrace.service.principal import SCOPES, Principal, Scope
from headrace.terms import BUDGET_WINDOWS, Budget, KeyBudget, KeyLimits, KeyTerms

KIND: Final = "key"
_PREFIX = "hr_"
_KEY = re.compile(r"hr_[A-Za-z0-9_-]{43}")
_TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ID_CHARS = 16
_FRESH_S = 1.0
"""So late at most does a process hear that a key was revoked by another one."""
_MOST_FRESH = 10_000
_PAGE = 500


class Key(msgspec.Struct, frozen=True):
    """What is kept of a key.

    Args:
        id: names it to people; tells nothing of the key.
        digest: SHA-256 of the key, in hexadecimal digits.
        tenant: whose it is.
        scopes: what it may do.
        name: for people.
        created_at: UTC seconds.
        revoked_at: UTC seconds; None = it was not.
        limits: how much it may ask for.
        expires_at: UTC seconds; None = never.
        budget: what may be spent with it; None = any.
    """

    id: str
    digest: str
    tenant: str
    scopes: tuple[Scope, ...]
    name: str
    created_at: float
    revoked_at: float | None = None
    limits: KeyLimits = KeyLimits()
    expires_at: float | None = None
    budget: KeyBudget | None = None

    @property
    def terms(self) -> KeyTerms:
        """What binds the calls made with it, also once it is good no more."""
        return KeyTerms(self.limits, self.budget)

    def why_not(self, now: float) -> str:
        """Return why it is good no more at `now`, UTC seconds; "" = it is good."""
        if self.revoked_at is not None:
            return "this API key was revoked"
        if self.expires_at is not None and now >= self.expires_at:
            return "this API key has expired"
        return ""

    @property
    def principal(self) -> Principal:
        """Who asks with this key."""
        return Principal(self.tenant, frozenset(self.scopes), self.id, self.terms)


class NewKey(msgspec.Struct, frozen=True):
    """A key that is wished for; `expires_in_s` seconds from now it ends, None = never.

    Raises:
        ConfigError: a tenant, scope or time that cannot be.
    """

    tenant: str
    scopes: tuple[Scope, ...] = ("submit", "read")
    name: str = ""
    limits: KeyLimits = KeyLimits()
    expires_in_s: float | None = None
    budget: KeyBudget | None = None

    def __post_init__(self) -> None:
        if not _TENANT.fullmatch(self.tenant):
            raise ConfigError(
                f"--tenant: given {self.tenant[:80]!a}, allowed 1 to 64 of "
                "A-Z a-z 0-9 . _ -"
            )
        unknown = [scope for scope in self.scopes if scope not in SCOPES]
        if unknown or not self.scopes:
            given = repr(unknown[0][:80]) if unknown else "nothing"
            raise ConfigError(
                f"--scope: given {given}, allowed some of {', '.join(SCOPES)}"
            )
        _check_name(self.name)


def asked_budget(usd: Decimal | None, window: str | None) -> KeyBudget | None:
    """Return the budget that is asked for, perhaps none.

    Raises:
        ConfigError: an amount or window that cannot be, or a window without an amount.
    """
    if usd is not None:
        return _budget(usd, window or "total")
    if window is not None:
        raise ConfigError("--budget-window: given without --budget-usd")
    return None


def _budget(usd: Decimal, window: str) -> KeyBudget:
    try:
        Budget(usd)
    except ValueError:
        raise ConfigError(
            f"--budget-usd: given {usd}, allowed US dollars above 0, up to 1,000,000,000"
        ) from None
    if window not in BUDGET_WINDOWS:
        raise ConfigError(
            f"--budget-window: given {window[:80]!a}, allowed {', '.join(BUDGET_WINDOWS)}"
        )
    return KeyBudget(usd, window)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Key).decode


class Keys:
    """The keys of a store.

    Args:
        documents: where they are kept.
        clock: time.
    """

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._fresh: dict[str, tuple[float, Key]] = {}
        self._known_at: float | None = None
        self._are_any = False

    async def make(self, new: NewKey) -> tuple[str, Key]:
        """Make a key; return it, this once, and what is kept of it."""
        now = self._clock.utc()
        expires_at = None if new.expires_in_s is None else now + new.expires_in_s
        while True:
            text = _PREFIX + secrets.token_urlsafe(32)
            digest = _digest(text)
            key = Key(
                _id(digest),
                digest,
                new.tenant,
                new.scopes,
                new.name,
                now,
                None,
                new.limits,
                expires_at,
                new.budget,
            )
            body = _encode(key)
            if await self._documents.insert(KIND, key.id, body, key.tenant) is not None:
                self._are_any = True
                return text, key

    async def list(self) -> Sequence[Key]:
        """Return all keys, newest first, those revoked as well."""
        found: list[Key] = []
        after: int | None = None
        while page := await self._documents.documents(KIND, None, after, _PAGE):
            found += [_decode(document.body) for document in page]
            after = page[-1].number
        return found

    async def revoke(self, id: str) -> Key:
        """Let a key be good for nothing more; idempotent.

        It stays listed, so a service that had keys never opens again to everybody.

        Raises:
            NotFound: there is no key of that id.
        """
        while True:
            document, key = await self._read(id)
            if key.revoked_at is not None:
                return key
            gone = msgspec.structs.replace(key, revoked_at=self._clock.utc())
            if await self._documents.replace(document, _encode(gone)) is not None:
                self._fresh.pop(id, None)
                return gone

    async def change(self, id: str, changes: Mapping[str, Any]) -> Key:
        """Change the name, limits or budget of a key; what is absent stays.

        A running service goes by them within a second; a budget with another window
        begins anew.

        Args:
            id: of it.
            changes: by the fields of `KeyLimits`, `name`, `budget_usd` and
                `budget_window`; None lifts a limit.

        Raises:
            NotFound: there is no key of that id.
            ConfigError: a value that cannot be.
        """
        while True:
            document, key = await self._read(id)
            new = _changed(key, changes)
            if await self._documents.replace(document, _encode(new)) is not None:
                self._fresh.pop(id, None)
                return new

    async def _read(self, id: str) -> tuple[Document, Key]:
        document = await self._documents.document(KIND, id)
        if document is None:
            raise NotFound(f"no key {id[:80]!a}; `headrace keys list` shows all")
        return document, _decode(document.body)

    async def terms(self, id: str) -> KeyTerms | None:
        """Return what binds the calls of a key, as it was at most a second ago."""
        key = await self.find(id)
        return None if key is None else key.terms

    async def verify(self, text: str) -> Key | None:
        """Return the good key that this is; None if it is none."""
        if not _KEY.fullmatch(text):
            return None
        digest = _digest(text)
        key = await self.find(_id(digest))
        if key is None or key.why_not(self._clock.utc()):
            return None
        return key if hmac.compare_digest(key.digest, digest) else None

    async def why_not(self, id: str) -> str:
        """Return why a key is good no more, or that one is needed by now; "" = it is good.

        Args:
            id: of the key; "" = none was needed.
        """
        if not id:
            return "an API key is needed by now" if await self.are_any() else ""
        key = await self.find(id)
        return "this API key is gone" if key is None else key.why_not(self._clock.utc())

    async def are_any(self) -> bool:
        """Has a key ever been made? Once it has, nobody may come without."""
        now = self._clock.monotonic()
        is_old = self._known_at is None or now - self._known_at >= _FRESH_S
        if not self._are_any and is_old:
            self._are_any = bool(await self._documents.documents(KIND, limit=1))
            self._known_at = now
        return self._are_any

    async def find(self, id: str) -> Key | None:
        """Return what is kept of a key, as it was at most a second ago; None = nothing."""
        now = self._clock.monotonic()
        seen = self._fresh.get(id)
        if seen is not None and now - seen[0] < _FRESH_S:
            return seen[1]
        document = await self._documents.document(KIND, id)
        if document is None:
            return None
        key = _decode(document.body)
        if len(self._fresh) >= _MOST_FRESH:
            self._fresh.clear()
        self._fresh[id] = (now, key)
        return key


def _check_name(name: str) -> None:
    if len(name) > 200 or not name.isprintable():
        raise ConfigError("--name: allowed are up to 200 printable characters")


def _changed(key: Key, changes: Mapping[str, Any]) -> Key:
    limits = {n: changes[n] for n in KeyLimits.__struct_fields__ if n in changes}
    new = msgspec.structs.replace(
        key,
        limits=msgspec.structs.replace(key.limits, **limits),
        name=changes.get("name", key.name),
    )
    _check_name(new.name)
    old = key.budget
    usd = changes.get("budget_usd", None if old is None else old.usd)
    window = changes.get("budget_window")
    if window is None and usd is not None and old is not None:
        window = old.window
    return msgspec.structs.replace(new, budget=asked_budget(usd, window))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _id(digest: str) -> str:
    return f"key_{digest[:_ID_CHARS]}"
