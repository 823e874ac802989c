"""Photos made by hand, and tasks on them, for the tests beside this file."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline_assets.variants.kinds import Parent, Task
from pipeline_assets.variants.photos import KIND
from pipeline_assets.variants.recipes import Recipe, seed_of, variant_id

SHARED_PHOTOS = Path(__file__).parents[2].parent / "shared" / "photos"
SMALL = Recipe("fit", side_px=64)


def encoded(image, image_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def parent(data, **labels):
    return Parent(hashlib.sha256(data).hexdigest(), data, labels)


def textured(seed=0, width=96, height=80):
    """Smooth colours with some texture, as a photo has."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
    return Image.fromarray((smooth + random.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8))


def photo(seed=0, width=96, height=80, image_format="PNG", **labels):
    return parent(encoded(textured(seed, width, height), image_format), **labels)


def task(recipe, *parents, run_seed=0, number=0):
    """Work as the engine gives it; the recipe is completed."""
    recipe = KIND.complete(recipe)
    hashes = tuple(one.sha256 for one in parents)
    seed = seed_of(hashes, recipe, run_seed, number)
    return Task(variant_id(hashes, recipe, seed), hashes, recipe, seed), parents


def made(recipe, *parents, run_seed=0):
    """The only outcome."""
    ((_, outcome),) = KIND.make([task(recipe, *parents, run_seed=run_seed)])
    return outcome


def pixels(outcome):
    return np.asarray(Image.open(io.BytesIO(outcome.data)).convert("RGB"))
