"""Classify a bucket's photos with DataChain as its guides do: read_storage, setup, a mapped function, Parquet.

with_datachain.py BUCKET OUTPUT
"""

import os
import sys

import datachain as dc
import network
import torch


def top5(file: dc.ImageFile, net: torch.nn.Module) -> list[int]:
    """The five most probable classes of one photo."""
    return network.classify(net, [network.preprocess(file.read())])[0]


def main() -> None:
    """Read, classify, write."""
    bucket, output = sys.argv[1:]
    access = {
        "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
        "aws_key": os.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret": os.environ["AWS_SECRET_ACCESS_KEY"],
    }
    photos = dc.read_storage(f"s3://{bucket}/", type="image", client_config=access)
    predictions = photos.setup(net=network.load).map(top5=top5).mutate(name=dc.C("file.path")).select("name", "top5")
    predictions.to_parquet(output)


if __name__ == "__main__":
    main()
