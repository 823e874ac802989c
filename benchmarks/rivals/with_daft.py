"""Classify a bucket's photos with Daft as its guides do: glob, download, decode, a class UDF over batches, Parquet.

with_daft.py BUCKET OUTPUT
"""

import os
import sys
from typing import Any

import daft
import network
from daft import DataType, Series, col
from daft.io import IOConfig, S3Config
from PIL import Image


@daft.cls
class Classifier:
    """The network, loaded once a worker."""

    def __init__(self) -> None:
        self.net = network.load()

    @daft.method.batch(return_dtype=DataType.list(DataType.int64()), batch_size=network.BATCH)
    def top5(self, images: Series) -> Any:
        """The five most probable classes of each image."""
        decoded = [network.preprocess(Image.fromarray(image)) for image in images.to_pylist()]
        return network.classify(self.net, decoded)


def main() -> None:
    """Read, classify, write."""
    bucket, output = sys.argv[1:]
    s3 = S3Config(
        endpoint_url=os.environ["AWS_ENDPOINT_URL"],
        key_id=os.environ["AWS_ACCESS_KEY_ID"],
        access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region_name=os.environ["AWS_REGION"],
    )
    access = IOConfig(s3=s3)
    photos = daft.from_glob_path(f"s3://{bucket}/**", io_config=access)
    images = photos.with_column("image", col("path").download(io_config=access).decode_image(mode="RGB"))
    predictions = images.select(col("path").alias("name"), Classifier().top5(col("image")).alias("top5"))
    predictions.write_parquet(output)


if __name__ == "__main__":
    main()
