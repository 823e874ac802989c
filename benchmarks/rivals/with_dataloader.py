"""Classify a bucket's photos as people write it: a Dataset that gets from S3 with boto3, a DataLoader, results as Parquet.

with_dataloader.py BUCKET OUTPUT [--keep-freed-memory]
"""

import argparse
from typing import Any

import boto3
import network
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, Dataset

WORKERS = 2


class BucketPhotos(Dataset[tuple[str, torch.Tensor]]):
    """Photos of a bucket by number; each worker opens a client of its own."""

    def __init__(self, bucket: str, keys: list[str]) -> None:
        self.bucket, self.keys = bucket, keys
        self.client: Any = None

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> tuple[str, torch.Tensor]:
        self.client = self.client or boto3.client("s3")
        key = self.keys[index]
        data = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return key, torch.from_numpy(network.preprocess(network.decode(data)))


def main() -> None:
    """List, load, classify, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bucket")
    parser.add_argument("output")
    parser.add_argument("--keep-freed-memory", action="store_true", help="with Darkroom's malloc settings")
    options = parser.parse_args()
    if options.keep_freed_memory:
        from pipeline_assets.runtime.allocators import keep_freed_memory

        keep_freed_memory()
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=options.bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    net = network.load()
    loader = DataLoader(BucketPhotos(options.bucket, keys), batch_size=network.BATCH, num_workers=WORKERS)
    predictions: dict[str, list[Any]] = {"name": [], "top5": []}
    for names, images in loader:
        predictions["name"] += names
        predictions["top5"] += network.classify(net, images)
    pq.write_table(pa.table(predictions), options.output)


if __name__ == "__main__":
    main()
