"""What the `headrace keys` commands do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

import msgspec

from headrace.cli import words
from headrace.cli.exits import Exit
from headrace.cli.jobfinding import found_store
from headrace.cli.jobviews import moment
from headrace.cli.jobwork import print_json, print_lines
from headrace.clock import SystemClock
from headrace.config import load_store
from headrace.errors import ConfigError
from headrace.policies.budget import usd_of
from headrace.policies.window import span_of
from headrace.ports import Store
from headrace.service.keybook import KeyBook, KeyUse
from headrace.service.keys import Key, Keys, NewKey, asked_budget
from headrace.service.keyviews import key_view
from headrace.service.openai.batch import window_s
from headrace.service.principal import Scope
from headrace.stores.opening import open_store
from headrace.terms import KeyBudget, KeyLimits

_MOST = 10**9


class BudgetWish(msgspec.Struct, frozen=True):
    """A budget as the flags ask for it."""

    usd: str | None = None
    window: str | None = None

    def budget(self) -> KeyBudget | None:
        """Return the budget; None if none is asked for.

        Raises:
            ConfigError: an amount or window that cannot be.
        """
        return asked_budget(None if self.usd is None else _usd(self.usd), self.window)


class Wish(msgspec.Struct, frozen=True):
    """A key as the flags ask for it."""

    tenant: str
    scopes: tuple[str, ...]
    name: str
    limits: KeyLimits
    expires_in: str | None
    budget: BudgetWish


async def add_key(store: str | None, wish: Wish, json: bool) -> Exit:
    """Make a key; print it."""
    new = NewKey(
        wish.tenant,
        cast("tuple[Scope, ...]", wish.scopes),
        wish.name,
        wish.limits,
        None if wish.expires_in is None else _seconds(wish.expires_in),
        wish.budget.budget(),
    )
    async with _made_store(store) as keys:
        text, key = await keys.make(new)
    if json:
        print_json({"key": text, **_view(key)})
    else:
        print_lines([text, f"{_line(key)}; it is not shown again"])
    return Exit.SUCCEEDED


async def list_keys(store: str | None, json: bool) -> Exit:
    """Print what is known of all keys."""
    async with found_store(store) as opened:
        book = KeyBook(opened.documents(), SystemClock())
        keys = await Keys(opened.documents(), SystemClock()).list()
        found = [(key, await book.use(key.id)) for key in keys]
    if json:
        for key, use in found:
            print_json(_view(key, use))
    else:
        print_lines([_line(key, use) for key, use in found] or ["no keys yet"])
    return Exit.SUCCEEDED


async def change_key(
    store: str | None, id: str, stated: Mapping[str, str], json: bool
) -> Exit:
    """Change a key; print what it is now."""
    changes = {name: _READ[name](value) for name, value in stated.items()}
    if not changes:
        raise ConfigError(
            "given nothing to change; `headrace keys change --help` shows what may be"
        )
    async with found_store(store) as opened:
        key = await Keys(opened.documents(), SystemClock()).change(id, changes)
        await _print(opened, key, json)
    return Exit.SUCCEEDED


async def revoke_key(store: str | None, id: str, json: bool) -> Exit:
    """Revoke a key."""
    async with found_store(store) as opened:
        key = await Keys(opened.documents(), SystemClock()).revoke(id)
        await _print(opened, key, json)
    return Exit.SUCCEEDED


async def _print(opened: Store, key: Key, json: bool) -> None:
    use = await KeyBook(opened.documents(), SystemClock()).use(key.id)
    if json:
        print_json(_view(key, use))
    else:
        print_lines([_line(key, use)])


# ---- what the flags say


def _usd(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ConfigError(
            f"--budget-usd: given {text[:80]!a}, allowed US dollars, such as 50 or 0.5"
        ) from None


def _number(flag: str, least: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not least <= value <= _MOST:
            raise ConfigError(
                f"{flag}: given {text[:80]!a}, allowed a number from {least:g} to "
                f"{_MOST:,}, or none"
            )
        return value

    return read


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == "none" else read(text)


def _count(text: str) -> int:
    value = _number("--in-flight", 1)(text)
    if value != int(value):
        raise ConfigError(f"--in-flight: given {text[:80]!a}, allowed a whole number")
    return int(value)


_READ: Mapping[str, Callable[[str], Any]] = {
    "name": str,
    "calls_per_minute": _or_none(_number("--rpm", 0.001)),
    "tokens_per_minute": _or_none(_number("--tpm", 1)),
    "in_flight": _or_none(_count),
    "budget_usd": _or_none(_usd),
    "budget_window": str,
}


def _seconds(text: str) -> int:
    try:
        return window_s(text)
    except ValueError as error:
        raise ConfigError(f"--expires-in: {error}") from None


@asynccontextmanager
async def _made_store(flag: str | None) -> AsyncIterator[Keys]:
    """Open the store that is named; the first key may make it."""
    address, _ = load_store(flag, os.environ, Path.cwd())
    store = await open_store(address, SystemClock())
    try:
        yield Keys(store.documents(), SystemClock())
    finally:
        await store.close()


# ---- how keys are shown


def _view(key: Key, use: KeyUse = KeyUse()) -> dict[str, Any]:
    return key_view(key, use, SystemClock().utc())


def _line(key: Key, use: KeyUse = KeyUse()) -> str:
    parts = [key.id, f"tenant {key.tenant}", "+".join(key.scopes)]
    limits = msgspec.structs.asdict(key.limits)
    parts += [f"{name} {most:g}" for name, most in limits.items() if most is not None]
    if key.budget is not None:
        parts.append(_spent(key.budget, use))
    if key.name:
        parts.append(key.name)
    parts.append(f"made {moment(key.created_at)} UTC")
    if use.used_at is not None:
        parts.append(f"used {moment(use.used_at)} UTC")
    if key.expires_at is not None:
        parts.append(f"until {moment(key.expires_at)} UTC")
    if key.revoked_at is not None:
        parts.append(f"revoked {moment(key.revoked_at)} UTC")
    return "  ".join(parts)


def _spent(budget: KeyBudget, use: KeyUse) -> str:
    is_now = use.span == span_of(budget.window, SystemClock().utc())
    nano = use.nano if is_now else 0
    span = "" if budget.window == "total" else f" a {budget.window}"
    return f"{words.spent(usd_of(nano), budget.usd)}{span}"
