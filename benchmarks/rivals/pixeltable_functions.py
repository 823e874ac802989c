"""The function that `with_pixeltable.py` computes a column with; Pixeltable wants it in a module of its own."""

import network
import pixeltable as pxt
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
