"""Services on one SQLite store share its directory, also when one is killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from shell_live import Serve, Served

pytestmark = [pytest.mark.live, pytest.mark.slow]
FORM = {"content-type": "multipart/form-data; boundary=x"}
FLAGS = ("--base-url", "http://127.0.0.1:9", "--store", "h.db")


class SlowUpload:
    """An upload that stops half way until it may end."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._may_end = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.answer: httpx2.Response | None = None

    def __enter__(self) -> SlowUpload:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Let it end, and wait for the answer."""
        self._may_end.set()
        self._thread.join()

    def _send(self) -> None:
        with suppress(httpx2.TransportError):
            self.answer = httpx2.post(
                f"{self._served.url}/v1/files", content=self._body(), headers=FORM
            )

    def _body(self) -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nevals\r\n'
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield b"x" * 3_000_000
        self._may_end.wait(30)
        yield b"\r\n--x--\r\n"


def wait_half_written(place: Path) -> None:
    while not any(path.stat().st_size for path in place.glob("*.partial")):
        threading.Event().wait(0.01)


def test_who_starts_leaves_uploads_under_way_alone_and_removes_those_of_the_dead(
    serve: Serve, tmp_path: Path
) -> None:
    place = tmp_path / "h.db.files"
    with serve(*FLAGS) as first:
        with SlowUpload(first) as upload:
            wait_half_written(place)
            with serve(*FLAGS) as second:
                upload.end()
                assert upload.answer is not None
                file = upload.answer.json()
                path = f"{second.url}/v1/files/{file['id']}/content"
                assert httpx2.get(path).content == b"x" * 3_000_000
        with SlowUpload(first):
            wait_half_written(place)
            first.process.kill()
            first.process.wait()
    with serve(*FLAGS) as third:
        assert [path.name for path in place.iterdir()] == [file["id"]]
        listed = httpx2.get(f"{third.url}/v1/files").json()["data"]
        assert [each["id"] for each in listed] == [file["id"]]
