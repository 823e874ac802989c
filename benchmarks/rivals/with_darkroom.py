"""Classify a bucket's photos with this project's pipeline, as its assets do: fetch, classify, results as Parquet.

with_darkroom.py BUCKET OUTPUT
"""

import os
import sys
from collections.abc import Iterator

import polars as pl

from pipeline_assets.classify import models, pipeline
from resources.objects.store import ObjectStore

READ_AHEAD = 128
"""As `classify/assets.py` has it, whose import would bring all of Dagster's assets along."""


def main() -> None:
    """List, fetch, classify, write."""
    bucket, output = sys.argv[1:]
    store = ObjectStore.open(
        f"s3://{bucket}",
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    )
    keys = [info.key for info in store.list()]
    batches = pipeline.classify_photos(fetched(store, keys), classifier=models.load_classifier())
    classes = pl.concat([batch.classes for batch in batches])
    classes.rename({"sha256": "name", "top5_index": "top5"}).write_parquet(output)


def fetched(store: ObjectStore, keys: list[str]) -> Iterator[tuple[str, bytes]]:
    """Each photo's key, which stands for its hash here, and its bytes."""
    for key, data in store.get_many(keys, key=str, concurrency=READ_AHEAD):
        if isinstance(data, Exception):
            raise data
        yield key, data


if __name__ == "__main__":
    main()
