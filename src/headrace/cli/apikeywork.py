"""What the `headrace keys` commands do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from headrace.cli.exits import Exit
from headrace.cli.jobfinding import found_store
from headrace.cli.jobviews import moment
from headrace.cli.jobwork import print_json, print_lines
from headrace.clock import SystemClock
from headrace.config import load_store
from headrace.errors import ConfigError
from headrace.service.keys import Key, Keys, NewKey
from headrace.service.openai.batch import window_s
from headrace.service.principal import KeyLimits, Scope
from headrace.stores.opening import open_store


class Wish(msgspec.Struct, frozen=True):
    """A key as the flags ask for it."""

    tenant: str
    scopes: tuple[str, ...]
    name: str
    limits: KeyLimits
    expires_in: str | None


async def add_key(store: str | None, wish: Wish, json: bool) -> Exit:
    """Make a key; print it."""
    scopes = cast("tuple[Scope, ...]", wish.scopes)
    expires_in_s = None if wish.expires_in is None else _seconds(wish.expires_in)
    new = NewKey(wish.tenant, scopes, wish.name, wish.limits, expires_in_s)
    async with _made_store(store) as keys:
        text, key = await keys.make(new)
    if json:
        print_json({"key": text, **key_fields(key)})
    else:
        print_lines([text, f"{_line(key)}; it is not shown again"])
    return Exit.SUCCEEDED


async def list_keys(store: str | None, json: bool) -> Exit:
    """Print what is known of all keys."""
    async with found_store(store) as opened:
        found = await Keys(opened.documents(), SystemClock()).list()
    if json:
        for key in found:
            print_json(key_fields(key))
    else:
        print_lines([_line(key) for key in found] or ["no keys yet"])
    return Exit.SUCCEEDED


async def revoke_key(store: str | None, id: str, json: bool) -> Exit:
    """Revoke a key."""
    async with found_store(store) as opened:
        key = await Keys(opened.documents(), SystemClock()).revoke(id)
    if json:
        print_json(key_fields(key))
    else:
        print_lines([_line(key)])
    return Exit.SUCCEEDED


def _seconds(text: str) -> int:
    try:
        return window_s(text)
    except ValueError as error:
        raise ConfigError(f"--expires-in: {error}") from None


def key_fields(key: Key) -> dict[str, Any]:
    """Return a key for programs, without its digest."""
    fields: dict[str, Any] = msgspec.to_builtins(key)
    del fields["digest"]
    return fields


@asynccontextmanager
async def _made_store(flag: str | None) -> AsyncIterator[Keys]:
    """Open the store that is named; the first key may make it."""
    address, _ = load_store(flag, os.environ, Path.cwd())
    store = await open_store(address, SystemClock())
    try:
        yield Keys(store.documents(), SystemClock())
    finally:
        await store.close()


def _line(key: Key) -> str:
    parts = [key.id, f"tenant {key.tenant}", "+".join(key.scopes)]
    limits = msgspec.structs.asdict(key.limits)
    parts += [f"{name} {most:g}" for name, most in limits.items() if most is not None]
    if key.name:
        parts.append(key.name)
    parts.append(f"made {moment(key.created_at)} UTC")
    if key.expires_at is not None:
        parts.append(f"until {moment(key.expires_at)} UTC")
    if key.revoked_at is not None:
        parts.append(f"revoked {moment(key.revoked_at)} UTC")
    return "  ".join(parts)
