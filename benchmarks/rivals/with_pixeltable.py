"""Classify a bucket's photos with Pixeltable as its guides do: an image column, a computed column of a batched UDF.

    with_pixeltable.py BUCKET OUTPUT

The result is Pixeltable's own table; what is exported afterwards is for the comparison.
"""

import sys

import boto3
import network
import pixeltable as pxt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from pixeltable.func import Batch

_loaded: list[torch.nn.Module] = []


@pxt.udf(batch_size=network.BATCH)
def top5(images: Batch[Image.Image]) -> Batch[pxt.Json]:
    """The five most probable classes of each image."""
    if not _loaded:
        _loaded.append(network.load())
    return network.classify(_loaded[0], [network.preprocess(image) for image in images])


def main() -> None:
    """Make the table, insert the photos by their address, write what was found."""
    bucket, output = sys.argv[1:]
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    pxt.create_dir("bench")
    table = pxt.create_table("bench.photos", {"name": pxt.String, "image": pxt.Image})
    table.add_computed_column(top5=top5(table.image))
    table.insert([{"name": key, "image": f"s3://{bucket}/{key}"} for key in keys])
    rows = table.select(table.name, table.top5).collect()
    pq.write_table(pa.table({"name": list(rows["name"]), "top5": list(rows["top5"])}), output)


if __name__ == "__main__":
    main()
