"""What `headrace run` was asked to do, checked before anything is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from tempfile import gettempdir

import msgspec

from headrace.app import check_fallbacks, money_of
from headrace.cli.keys import find_key, find_own_keys
from headrace.config import RunSettings
from headrace.engine.pool import check_pool
from headrace.errors import ConfigError
from headrace.jsonl.careful import LineRules
from headrace.jsonl.locking import locked
from headrace.jsonl.rendering import errors_path, output_path
from headrace.jsonl.validation import InputRules
from headrace.model import Endpoint
from headrace.routes import HttpRoute
from headrace.stores.opening import is_postgres, sqlite_path

STANDARD = "-"
"""Names standard input and standard output."""
_PLAIN_PATHS = {"anthropic": "/v1/messages"}


class RunPlan(msgspec.Struct, frozen=True):
    """One run."""

    source: str
    """The input as the user named it."""
    out: Path | None
    """None is standard output."""
    name: str | None
    """Of the job; None: standard output without a name, so the input names it."""
    restart: bool
    settings: RunSettings
    key: str | None
    own_keys: Mapping[str, str] = {}
    """Of endpoints that name a variable of their own, by the variable."""

    def key_of(self, endpoint: Endpoint) -> str | None:
        """Return an endpoint's key; None if it needs none."""
        return self.own_keys.get(endpoint.key_env or "", self.key)

    @property
    def errors(self) -> Path | None:
        """Where failures go; None with standard output."""
        return None if self.out is None else errors_path(self.out)

    @property
    def is_one_off(self) -> bool:
        """Is the job forgotten once all of it has succeeded?"""
        return self.name is None

    @property
    def title(self) -> str:
        return self.out.name if self.out is not None else self.name or "run"

    def route(self, name: str) -> HttpRoute:
        """Return the route of this run's calls, which only this process serves."""
        settings = self.settings
        endpoints = tuple(
            Endpoint(
                name=url,
                base_url=url,
                key_env=settings.api_key_env or None,
                headers=settings.header,
                limits=settings.limits,
            )
            for url in settings.base_url
        )
        endpoints += settings.endpoint
        return HttpRoute(
            name,
            endpoints,
            settings.dialect,
            settings.retry,
            settings.timeout,
            strategy=settings.strategy,
            fallbacks=settings.fallback,
            prices=settings.price,
            budget=settings.budget,
            cache=settings.cache_rules,
            hedge=settings.hedging,
        )

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold what no second run may hold: the output, and the job's name.

        Raises:
            OutputLocked: a second run holds it; names its pid.
        """
        with ExitStack() as stack:
            if self.out is not None:
                stack.enter_context(locked(self.out))
            if self.out is None or name != str(self.out):
                stack.enter_context(locked(_name_lock(self.settings.store, name)))
            yield


def input_rules(settings: RunSettings) -> InputRules:
    """Return what an input may hold."""
    lines = LineRules(
        "http" if settings.dialect == "http" else "llm",
        settings.model,
        _PLAIN_PATHS.get(settings.dialect, LineRules().plain_path),
    )
    return InputRules(lines, settings.max_line_bytes, settings.limit)


def plan_run(
    source: str,
    output: str | None,
    name: str | None,
    *,
    restart: bool,
    settings: RunSettings,
    environ: Mapping[str, str],
) -> RunPlan:
    """Check what can be checked without touching anything.

    Raises:
        ConfigError: names what was given and what is allowed.
    """
    if not settings.base_url and not settings.endpoint:
        raise ConfigError(
            "--base-url: given nothing, allowed the address to call, such as "
            "http://127.0.0.1:8000/v1"
        )
    if name is not None and (not name.strip() or not name.isprintable()):
        raise ConfigError(f"--name: given {name!a}, allowed a printable name")
    out = None if output in (None, STANDARD) else output_path(str(output))
    if out is not None:
        _refuse_clash(out, source, settings.store)
    plan = RunPlan(
        source=source,
        out=out,
        name=name or (str(out) if out is not None else None),
        restart=restart,
        settings=settings,
        key=find_key(settings, environ),
        own_keys=find_own_keys(settings, environ),
    )
    route = plan.route("run")
    check_pool(route.endpoints)
    money_of(route)
    check_fallbacks(route)
    return plan


def digest_of(*parts: str) -> str:
    """Return a short name made from these texts."""
    return blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def _refuse_clash(out: Path, source: str, store: str) -> None:
    """Refuse an output that would overwrite the input or the store."""
    outputs = (out, errors_path(out))
    taken = [("the input", Path(source))] if source != STANDARD else []
    if not is_postgres(store):
        taken.append(("the store", sqlite_path(store)))
    for what, path in taken:
        if Path(os.path.realpath(path)) in outputs:
            raise ConfigError(f"-o: given {out}, which would overwrite {what} {path}")


def _name_lock(store: str, name: str) -> Path:
    """Return the file whose lock stands for the name of a run in a store."""
    digest = digest_of(name)
    if is_postgres(store) or store == ":memory:":
        return Path(gettempdir()) / f"headrace-{digest_of(store)}-{digest}"
    path = sqlite_path(store)
    return path.with_name(f"{path.name}.run-{digest}")
