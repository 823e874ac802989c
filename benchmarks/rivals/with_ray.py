"""Classify a bucket's photos with Ray Data as its guides do: read_images, map, map_batches with a class, Parquet.

with_ray.py BUCKET OUTPUT
"""

import os
import sys
from typing import Any

import network
import numpy as np
import pyarrow.fs
import ray
from PIL import Image


def preprocess(row: dict[str, Any]) -> dict[str, Any]:
    """A decoded photo as the network's input."""
    return {"name": row["path"], "image": network.preprocess(Image.fromarray(row["image"]))}


class Classifier:
    """The network, loaded once an actor."""

    def __init__(self) -> None:
        self.net = network.load()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The five most probable classes of each image."""
        return {"name": batch["name"], "top5": np.array(network.classify(self.net, batch["image"]))}


def main() -> None:
    """Read, classify, write."""
    bucket, output = sys.argv[1:]
    filesystem = pyarrow.fs.S3FileSystem(
        endpoint_override=os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"),
        scheme="http",
        region=os.environ["AWS_REGION"],
    )
    photos = ray.data.read_images(bucket, filesystem=filesystem, mode="RGB", include_paths=True)
    preprocessed = photos.map(preprocess)
    preprocessed.map_batches(Classifier, batch_size=network.BATCH, compute=ray.data.ActorPoolStrategy(size=1)).write_parquet(
        output
    )


if __name__ == "__main__":
    main()
