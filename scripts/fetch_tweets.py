"""Fetches 4,200 tweets, each with the mean of 20 human ratings, into `var/data`.

The data are those of C.J. Hutto and E. Gilbert, "VADER: A Parsimonious Rule-based Model
for Sentiment Analysis of Social Media Text" (ICWSM 2014), under the MIT licence. They
are part of the source distribution of vaderSentiment, whose hash the lock file holds.
Needs nothing but Python with pip.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "var" / "data" / "tweets.tsv"
INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
MEMBER = "hutto_ICWSM_2014/tweets_GroundTruth.txt"


def download(folder: Path) -> Path:
    """Return the source distribution, its hash checked."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--no-binary", ":all:", "--require-hashes", "--dest", str(folder)]
    command += ["--requirement", str(ROOT / "requirements-data.lock")]
    subprocess.run(command, check=True)
    return next(folder.glob("*.tar.gz"))


def unpack(archive: Path) -> bytes:
    """Return the tweets, a line each: number, mean rating from -4 to 4, text."""
    with tarfile.open(archive) as outer:
        name = next(name for name in outer.getnames() if name.endswith(INNER))
        inner = outer.extractfile(name)
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as archived:
            member = archived.extractfile(MEMBER)
            assert member is not None
            return member.read()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = unpack(download(Path(folder)))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    beside = TARGET.with_suffix(".part")
    beside.write_bytes(data)
    beside.replace(TARGET)


if __name__ == "__main__":
    main()
