"""Training rows as WebDataset's tar shards, written and read as its documentation does. Used by `benchmarks/loader.py`.

with_webdataset.py write ROWS.npz FOLDER      |  read FOLDER BATCH EPOCHS WORKERS: prints JSON
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import webdataset as wds

SHARD_ROWS = 512
SHUFFLE_ROWS = 1000
COLUMNS = ("embedding", "features", "label")


def write(source: Path, folder: Path) -> None:
    """A tar member a column and row."""
    columns = np.load(source)
    arrays = [columns[name] for name in COLUMNS]
    with wds.ShardWriter(f"{folder}/train-%05d.tar", maxcount=SHARD_ROWS, verbose=0) as writer:
        for number, row in enumerate(zip(*arrays, strict=True)):
            values = {f"{name}.npy": value for name, value in zip(COLUMNS, row, strict=True)}
            writer.write({"__key__": f"{number:08d}", **values})


def read(folder: Path, batch: int, epochs: int, workers: int) -> dict[str, float]:
    """Rows a second over whole epochs, shards and rows shuffled; and a sum that proves that all were read."""
    shards = sorted(map(str, folder.glob("*.tar")))
    dataset = wds.WebDataset(shards, shardshuffle=len(shards)).shuffle(SHUFFLE_ROWS).decode()
    batches = dataset.to_tuple(*(f"{name}.npy" for name in COLUMNS)).batched(batch)
    loader = wds.WebLoader(batches, batch_size=None, num_workers=workers)
    rows, total = 0, 0.0
    began = time.perf_counter()
    for _ in range(epochs):
        for embedding, _, label in loader:
            rows += len(embedding)
            total += float(label.sum())
    return {"rows_per_s": rows / (time.perf_counter() - began), "rows": rows / epochs, "sum": total / epochs}


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        print(json.dumps(read(Path(sys.argv[2]), *map(int, sys.argv[3:]))))
