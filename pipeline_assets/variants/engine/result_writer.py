"""Stores variants: their bytes, then their rows.

Small variants are in one pack per chunk of rows, since a request for each would cost more than making it.
"""

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import polars as pl

from pipeline_assets.variants.kinds import Kind, Made
from pipeline_assets.variants.planning import NO_LABELS, Planned
from resources.objects.packs import PACKED_BELOW, Packer
from resources.objects.results import KEY, Results
from resources.objects.store import ObjectRef

ROWS_PER_CHUNK = 256
"""Rows stored together: a kill loses at most these."""
WRITERS = 8
"""Large variants sent at once, while others are made."""


def result_kind(kind: Kind) -> str:
    """The kind under which results are stored; `darkroom gc` relies on its prefix."""
    return f"variants/{kind.name}"


def result_key(kind: Kind, planned: Planned) -> str:
    """The key of a stored variant: from its identity, its labels, and its kind's `labels_version`."""
    labels_heeded = [] if all(labels == NO_LABELS for labels in planned.labels) else [*planned.labels]
    if kind.labels_version > 1:
        labels_heeded.append(f"labels of version {kind.labels_version}")
    identity = planned.task.variant_id
    return hashlib.sha256("\n".join((identity, *labels_heeded)).encode()).hexdigest() if labels_heeded else identity


class ResultWriter:
    """Stores variants in chunks, on its own thread: a pack of their bytes, then their rows.

    As a context manager: stores the rest on exit.
    """

    def __init__(self, kind: Kind, results: Results) -> None:
        self.kind = kind
        self.results = results
        self.senders = ThreadPoolExecutor(WRITERS, thread_name_prefix="variants-send")
        self.keeper = ThreadPoolExecutor(1, thread_name_prefix="variants-keep")
        self.rows: list[dict[str, Any] | Future[dict[str, Any]]] = []
        self.packer = Packer(results.store)
        self.keeping: Future[None] | None = None

    def __enter__(self) -> "ResultWriter":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._flush()  # stores finished variants even if the work ends with an error
            self._wait()
        finally:
            self.keeper.shutdown()
            self.senders.shutdown()

    def keep(self, planned: Planned, variant: Made) -> None:
        """Add a variant; its bytes and row are stored with the next chunk."""
        packed = None
        if isinstance(variant.data, bytes) and len(variant.data) < PACKED_BELOW:
            sha256 = hashlib.sha256(variant.data)
            self.packer.add(sha256.digest(), variant.data)
            packed = ObjectRef(sha256.hexdigest(), len(variant.data))
        if packed and not variant.extra_contents:
            self.rows.append(_row(self.kind, planned, variant, packed))
        else:
            self.rows.append(self.senders.submit(self._send, planned, variant, packed))
            futures = [row for row in self.rows if isinstance(row, Future)]
            if len(futures) >= 2 * WRITERS:
                futures[-2 * WRITERS].result()  # bounds the bytes in memory
        if len(self.rows) >= ROWS_PER_CHUNK:
            self._flush()

    def _send(self, planned: Planned, variant: Made, packed: ObjectRef | None) -> dict[str, Any]:
        store = self.results.store
        ref = packed or store.put_if_absent(variant.data)
        extra_hashes = {name: store.put_if_absent(data).sha256 for name, data in variant.extra_contents.items()}
        return _row(self.kind, planned, variant, ref) | extra_hashes

    def _flush(self) -> None:
        self._wait()
        if self.rows:
            self.keeping = self.keeper.submit(self._keep, self.rows, self.packer)
            self.rows, self.packer = [], Packer(self.results.store)

    def _wait(self) -> None:
        if self.keeping:
            self.keeping.result()

    def _keep(self, waiting: Sequence[dict[str, Any] | Future[dict[str, Any]]], packer: Packer) -> None:
        places = packer.close()
        rows = [row.result() if isinstance(row, Future) else row for row in waiting]
        for row in rows:
            place = places.get(bytes.fromhex(row["content_sha256"]))
            row["object_sha256"] = place.sha256 if place else row["content_sha256"]
            row["object_offset"] = place.offset if place else 0
        self.results.put(result_kind(self.kind), pl.DataFrame(rows, infer_schema_length=None))


def _row(kind: Kind, planned: Planned, variant: Made, ref: ObjectRef) -> dict[str, Any]:
    return {
        KEY: result_key(kind, planned),
        "content_sha256": ref.sha256,
        "size_bytes": ref.size,
        "media_type": variant.media_type,
        "encoding": variant.encoding,
        "labels_json": json.dumps(variant.labels, sort_keys=True, separators=(",", ":"), allow_nan=False),
        **variant.columns,
    }
