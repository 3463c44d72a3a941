"""Random sequences of operations on small records and files, held against a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from headrace.errors import StoreError
from headrace.ports import Document, FilePieces
from headrace.stores.steps_pieces import LEASE_S
from headrace.testing.store_world import World, raises

T = TypeVar("T")
Opening = Callable[[], AbstractAsyncContextManager[World]]

MAX_BODIES: Final = 6
STEP_S: Final = 250.0
"""Three steps outlast a lease, two do not, and neither by little: a database's own
clock goes on meanwhile."""

_RUNS: Final = count(1)
pick = st.integers(0, 1000)
names = st.sampled_from(["a", "b", "c"])
tenants = st.sampled_from(["", "t"])
expiries = st.sampled_from([None, 10.0, 20.0])


def document_machine(open_world: Opening) -> type[RuleBasedStateMachine]:
    """Return the state machine that tries the documents of the stores opened."""

    class Machine(DocumentMachine):
        def __init__(self) -> None:
            super().__init__(open_world())

    return Machine


def files_machine(open_world: Opening) -> type[RuleBasedStateMachine]:
    """Return the state machine that tries the files of stores that keep them."""

    class Machine(FilesMachine):
        def __init__(self) -> None:
            super().__init__(open_world())

    return Machine


class RecordMachine(RuleBasedStateMachine):
    """An open store; what a former run left in it bears other names."""

    def __init__(self, opening: AbstractAsyncContextManager[World]) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._opening = opening
        self._world = self._do(opening.__aenter__())
        self._run = f"run-{next(_RUNS)}"

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def teardown(self) -> None:
        self._do(_leave(self._opening))
        self._runner.close()


class DocumentMachine(RecordMachine):
    """People make, change and forget documents, some by an old version."""

    def __init__(self, opening: AbstractAsyncContextManager[World]) -> None:
        super().__init__(opening)
        self._documents = self._world.store.documents()
        self._model: dict[str, Document] = {}
        self._seen: list[Document] = []

    @rule(id=names, tenant=tenants, expires_at=expiries)
    def insert(self, id: str, tenant: str, expires_at: float | None) -> None:
        made = self._do(
            self._documents.insert(self._run, id, b"new", tenant, expires_at)
        )
        assert (made is None) == (id in self._model)
        if made is not None:
            assert made.number > max((d.number for d in self._seen), default=0)
            self._keep(made)

    @precondition(lambda self: self._seen)
    @rule(which=pick, expires_at=expiries)
    def replace(self, which: int, expires_at: float | None) -> None:
        old = self._seen[which % len(self._seen)]
        body = b"%d" % which
        made = self._do(self._documents.replace(old, body, expires_at))
        # A number is never used again, and each change counts the version.
        assert (made is not None) == (self._model.get(old.id) == old)
        if made is not None:
            assert (made.version, made.body) == (old.version + 1, body)
            self._keep(made)

    @rule(id=names)
    def delete(self, id: str) -> None:
        gone = self._do(self._documents.delete(self._run, id))
        assert gone == (self._model.pop(id, None) is not None)

    def _keep(self, document: Document) -> None:
        self._model[document.id] = document
        self._seen.append(document)

    @invariant()
    def pages_hold_what_the_model_says(self) -> None:
        kept = sorted(self._model.values(), key=lambda d: -d.number)
        assert self._do(self._documents.documents(self._run)) == kept
        of_one = self._do(self._documents.documents(self._run, "t"))
        assert of_one == [d for d in kept if d.tenant == "t"]
        over = self._do(self._documents.expired(self._run, 15.0))
        assert {d.id for d in over} == {d.id for d in kept if d.expires_at == 10.0}


class _Body:
    """What the model knows of a body; `until` is None while a file names it."""

    def __init__(self, id: str, until: float) -> None:
        self.id = id
        self.until: float | None = until
        self.is_whole = False
        self.pieces: list[bytes] = []


class FilesMachine(RecordMachine):
    """Writers and readers come, stop and die; several services tidy up."""

    def __init__(self, opening: AbstractAsyncContextManager[World]) -> None:
        super().__init__(opening)
        found = self._world.store.file_pieces()
        assert found is not None
        self._pieces: FilePieces = found
        self._now = 0.0
        self._bodies: dict[int, _Body] = {}
        self._gone: set[int] = set()
        self._named: dict[str, int] = {}

    def _lease(self) -> float:
        return self._now + LEASE_S

    def _body(self, which: int) -> tuple[int, _Body]:
        return list(self._bodies.items())[which % len(self._bodies)]

    def _is_open(self, body: _Body) -> bool:
        return not body.is_whole and body.until is not None and body.until > self._now

    @precondition(lambda self: len(self._bodies) < MAX_BODIES)
    @rule(id=names)
    def begin(self, id: str) -> None:
        name = f"{self._run}-{id}"
        number = self._do(self._pieces.begin(name))
        assert number not in self._bodies.keys() | self._gone
        self._bodies[number] = _Body(name, self._lease())

    @precondition(lambda self: self._bodies)
    @rule(which=pick, piece=st.binary(max_size=3))
    def add(self, which: int, piece: bytes) -> None:
        number, body = self._body(which)
        adding = self._pieces.add(number, len(body.pieces), piece)
        if not self._is_open(body):
            self._do(_refused(adding))
            return
        self._do(adding)
        body.pieces.append(piece)
        body.until = self._lease()

    @precondition(lambda self: self._bodies)
    @rule(which=pick)
    def finish(self, which: int) -> None:
        number, body = self._body(which)
        finishing = self._pieces.finish(number, len(b"".join(body.pieces)))
        if not self._is_open(body):
            self._do(_refused(finishing))
            return
        self._do(finishing)
        self._retire(body.id)
        body.is_whole, body.until = True, None
        self._named[body.id] = number

    def _retire(self, id: str) -> None:
        if id in self._named:
            self._bodies[self._named.pop(id)].until = self._lease()

    @precondition(lambda self: self._bodies)
    @rule(which=pick)
    def abandon(self, which: int) -> None:
        number, body = self._body(which)
        self._do(self._pieces.abandon(number))
        if not body.is_whole:
            body.until = self._now

    @rule(id=names)
    def delete(self, id: str) -> None:
        name = f"{self._run}-{id}"
        assert self._do(self._pieces.delete(name)) == (name in self._named)
        self._retire(name)

    @rule()
    def time_passes(self) -> None:
        self._world.advance(STEP_S)
        self._now += STEP_S

    @rule(held=st.sets(pick, max_size=2))
    def tend(self, held: set[int]) -> None:
        """Renew some leases, and remove what nobody holds."""
        mine = {self._body(which)[0] for which in held if self._bodies}
        while self._do(self._pieces.tend(mine)):
            pass
        for number, body in list(self._bodies.items()):
            if body.until is None:
                continue
            if body.until <= self._now:
                del self._bodies[number]
                self._gone.add(number)
            elif number in mine:
                body.until = self._lease()

    @invariant()
    def files_are_as_the_model_says(self) -> None:
        for id in ("a", "b", "c"):
            name = f"{self._run}-{id}"
            found = self._do(self._pieces.find(name))
            number = self._named.get(name)
            if number is None:
                assert found is None
            else:
                size = len(b"".join(self._bodies[number].pieces))
                assert found == (number, size)

    @invariant()
    def bodies_stay_whole_until_they_are_removed(self) -> None:
        for number, body in self._bodies.items():
            wanted = [*body.pieces, None]
            found = [
                self._do(self._pieces.piece(number, n)) for n in range(len(wanted))
            ]
            assert found == wanted
        for number in self._gone:
            assert self._do(self._pieces.piece(number, 0)) is None


async def _refused(coroutine: Coroutine[Any, Any, object]) -> None:
    await raises(StoreError, coroutine)


async def _leave(opening: AbstractAsyncContextManager[World]) -> None:
    await opening.__aexit__(None, None, None)
