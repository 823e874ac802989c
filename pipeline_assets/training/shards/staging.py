"""Staged training sets: mature rows of a pinned training table as memory-mappable Arrow shards on a local disk.

    {root}/v12-2026-05-01-2026-05-14-1f0c9a7e/     named by its content
        staging.json          first: whose folder this is, and which rows it will hold
        train-00000.arrow ... uncompressed Arrow IPC, one record batch, rows by day and photo
        shards.jsonl          while staging: the shards that are done, with their sha256
        manifest.json         last: a staging without it is incomplete, and `stage` resumes it

The same rows give the same bytes, whatever order they are read in. Free space is checked by the caller, with
`StagingPlan.bytes_needed`; removing old stagings is in `pruning.py`, reading them in `dataset.py`.
"""

import contextlib
import datetime as dt
import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipeline_assets.errors import StagingCorrupt
from pipeline_assets.training.model.feature_matrix import embeddings, features
from pipeline_assets.training.shards.staging_plan import FORMAT, Slot, StagingPlan, missing_shards
from resources.files import replacing, sha256_of

MARKER, JOURNAL, MANIFEST, LOCK = "staging.json", "shards.jsonl", "manifest.json", ".lock"
TEMPORARY = ".writing-"


class Shard(NamedTuple):
    """One shard on disk; `shard` is its file name."""

    shard: str
    split: str
    rows: int
    size_bytes: int
    sha256: str


def stage(
    rows: pl.LazyFrame, target: Path, plan: StagingPlan, *, on_shard: Callable[[Shard], None] = lambda shard: None
) -> list[Shard]:
    """Write the planned rows as shards under `target`, or finish what an earlier run began.

    Shards that are on disk with their recorded sha256 are kept and the rows of theirs are not read again. A second
    process staging the same target waits for the first. `on_shard` is told of each shard as it is done.
    Raises StagingCorrupt if the rows are not the planned ones or `target` holds something else.
    """
    with _owned(target, plan):
        finished = _finished_shards(target, plan)
        for shard in finished.values():
            on_shard(shard)
        if len(finished) < len(plan.layout()):
            with replacing(target / JOURNAL, mode=0o600, is_synced=True, prefix=TEMPORARY) as temporary:
                temporary.write_text("".join(map(_line, finished.values())))
            (target / MANIFEST).unlink(missing_ok=True)
        with (target / JOURNAL).open("a") as journal:
            for slot, frame in missing_shards(rows, plan, finished.keys()):
                shard = _write_shard(target, slot, frame, plan.embedding_dim)
                journal.write(_line(shard))
                journal.flush()
                finished[slot.shard] = shard
                on_shard(shard)
        shards = [finished[slot.shard] for slot in plan.layout()]
        # Also where nothing was missing: its time says when the staging was last asked for, and `prune` goes by that.
        with replacing(target / MANIFEST, mode=0o600, is_synced=True, prefix=TEMPORARY) as temporary:
            temporary.write_text(json.dumps({**plan.header(), "shards": [s._asdict() for s in shards]}, indent=1))
        (target / JOURNAL).unlink()
        return shards


def read_manifest(target: Path) -> dict[str, Any]:
    """Manifest of a finished staging.  Raises StagingCorrupt if there is none, or it is not ours."""
    try:
        manifest = json.loads((target / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise StagingCorrupt(
            f"{target} has no readable {MANIFEST}: its staging is incomplete; materialize staged_training_set again"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise StagingCorrupt(f"{target / MANIFEST} is not of {FORMAT}: materialize staged_training_set again")
    return manifest


def verify(target: Path) -> list[Shard]:
    """Read every shard and compare it with the manifest; returns the shards.

    Raises StagingCorrupt naming the first shard that is missing or whose bytes differ.
    """
    shards = [Shard(**entry) for entry in read_manifest(target)["shards"]]
    for shard in shards:
        if not _is_intact(target, shard):
            raise StagingCorrupt(
                f"{target / shard.shard} is missing or differs from its sha256 {shard.sha256}: "
                "materialize staged_training_set again, which rewrites this shard alone"
            )
    return shards


def shards_frame(target: Path, day: dt.date) -> pl.DataFrame:
    """Rows of `StagedTrainingSet` for a finished staging, as staged for the night `day`."""
    manifest = read_manifest(target)
    return pl.DataFrame(manifest["shards"]).select(
        pl.lit(day).alias("day"),
        "shard",
        "split",
        pl.col("rows", "size_bytes").cast(pl.Int64),
        "sha256",
        pl.lit(manifest["table_version"], pl.Int64).alias("table_version"),
        pl.lit(dt.date.fromisoformat(manifest["first_day"])).alias("first_day"),
        pl.lit(dt.date.fromisoformat(manifest["last_day"])).alias("last_day"),
    )


def _write_shard(target: Path, slot: Slot, frame: pl.DataFrame, dim: int) -> Shard:
    """Write one shard whole or not at all: a temporary file is synced, then takes the shard's name."""
    columns = {
        "photo_id": pa.array(frame["photo_id"].to_numpy(), pa.int64()),
        "day": pa.array(frame["day"].to_physical().to_numpy(), pa.int32()).cast(pa.date32()),
        "popularity": pa.array(frame["popularity"].to_numpy(), pa.float32()),
        "features": _fixed_size(features(frame)),
        "embedding": _fixed_size(embeddings(frame, dim)),
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    path = target / slot.shard
    with (
        replacing(path, mode=0o600, is_synced=True, prefix=TEMPORARY) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)
    return Shard(slot.shard, slot.split, frame.height, path.stat().st_size, sha256_of(path))


def _fixed_size(values: npt.NDArray[np.float32]) -> pa.FixedSizeListArray:
    """(B, N) float32 as B lists of N, without a copy."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _is_intact(target: Path, shard: Shard) -> bool:
    path = target / shard.shard
    return path.is_file() and path.stat().st_size == shard.size_bytes and sha256_of(path) == shard.sha256


def _finished_shards(target: Path, plan: StagingPlan) -> dict[str, Shard]:
    """Planned shards that are on disk as journal or manifest recorded them, by file name."""
    recorded = []
    for path in (target / MANIFEST, target / JOURNAL):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            # A torn or foreign record only means that its shard is written again.
            text = path.read_text()
            entries = json.loads(text)["shards"] if path.name == MANIFEST else _whole_lines(text)
            recorded += [Shard(**entry) for entry in entries]
    rows_by_shard = {slot.shard: slot.last - slot.first for slot in plan.layout()}
    return {s.shard: s for s in recorded if rows_by_shard.get(s.shard) == s.rows and _is_intact(target, s)}


def _line(shard: Shard) -> str:
    return json.dumps(shard._asdict()) + "\n"


def _whole_lines(text: str) -> list[dict[str, Any]]:
    """JSON lines up to the last newline: a line that a kill cut short has none."""
    return [json.loads(line) for line in text.split("\n")[:-1]]


@contextlib.contextmanager
def _owned(target: Path, plan: StagingPlan) -> Iterator[None]:
    """Hold the folder for this process. Raises StagingCorrupt if it belongs to another staging or to someone else."""
    target.mkdir(parents=True, exist_ok=True)
    marker, header = target / MARKER, json.dumps(plan.header(), indent=1).encode()
    with (target / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in target.glob(f"{TEMPORARY}*"):
            leftover.unlink()
        if not marker.exists():
            if any(path.name != LOCK for path in target.iterdir()):
                raise StagingCorrupt(f"{target} holds files that no staging wrote: choose another folder")
            with replacing(marker, mode=0o600, is_synced=True, prefix=TEMPORARY) as temporary:
                temporary.write_bytes(header)
        if marker.read_bytes() != header:
            raise StagingCorrupt(f"{target} is the staging of other rows: use a folder named by the plan")
        yield
