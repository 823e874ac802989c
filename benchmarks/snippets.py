"""Movie snippets of known sentiment, from the source archive of vaderSentiment (MIT). Texts belong to their authors.

They are fetched from the package index into `build/` when first needed, and never committed. The truth is inferred from
their order, as the archive has them: positive ones first, then negative ones, some between and after them without.
"""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.figures import ROOT

PACKAGE = "vaderSentiment==3.3.2"
FOLDER = ROOT / "build" / "snippets"
INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
FILE = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
POSITIVE, NEGATIVE = range(5145), range(5165, 10_300)


def movie_snippets() -> tuple[list[str], npt.NDArray[np.int16]]:
    """Texts of known sentiment, and 1 for each positive one, 0 for each negative one."""
    lines = _file().decode("utf-8-sig", "replace").splitlines()
    texts = [line.split("\t", 2)[2] for line in lines]
    numbers = [*POSITIVE, *NEGATIVE]
    return [texts[number] for number in numbers], np.array([number in POSITIVE for number in numbers], np.int16)


def _file() -> bytes:
    archive = FOLDER / f"{PACKAGE.replace('==', '-')}.tar.gz"
    if not archive.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "--dest", str(FOLDER), PACKAGE], check=True)
        [found] = FOLDER.glob("vader*.tar.gz")
        found.rename(archive)
    return _member(_member(archive.read_bytes(), INNER), FILE)


def _member(archive: bytes, end: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        [member] = [one for one in opened if one.name.endswith(end)]
        file = opened.extractfile(member)
        assert file is not None
        return file.read()


if __name__ == "__main__":
    print(len(movie_snippets()[0]), Path(FOLDER))
