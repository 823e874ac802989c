"""The sample's photos: real ones that ship inside the scikit-image wheel, and distinct crops of them.

Nothing is downloaded or copied into this project: the files are read from the installed package. Every name starts with
`sample-`. Origin and licence, as scikit-image 0.26 documents them (`skimage/data/_fetchers.py`):

- astronaut: NASA Great Images, public domain. hubble_deep_field: NASA/HubbleSite, public domain.
  rocket: SpaceX, released into the public domain. clock_motion: S. van der Walt, public domain.
- camera (L. Varshney), chelsea (S. van der Walt), coffee (R. Michetti, courtesy of Pikolo Espresso Bar),
  retina (M. Häggström), cell (P. Müller et al.), brick and gravel (CC0Textures), grass (linolafett): CC0.
- coins (Brooklyn Museum), ihc (CMMI): no known copyright restrictions.
- moon, page: no origin named; distributed with scikit-image (BSD-3-Clause).
- motorcycle_left, motorcycle_right: Middlebury 2014 stereo benchmark (Scharstein et al., GCPR 2014); no licence named.
- horse (A. Preuss, openclipart): CC0. logo, multipage.tif, multipage_rgb.tif, no_time_for_that_tiny.gif and
  lbpcascade_frontalface_opencv.xml: distributed with scikit-image (BSD-3-Clause; the cascade is OpenCV's).
"""

import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from pipeline_assets.labeling import boxes
from pipeline_assets.labeling.boxes import Box
from pipeline_assets.sample.odd_files import encoded, odd_files, with_exif

COLOUR_PHOTOS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)
GREY_PHOTOS = (
    "brick.png",
    "camera.png",
    "cell.png",
    "clock_motion.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "moon.png",
    "page.png",
)
ODD_ORIGINALS = (
    "horse.png",
    "logo.png",
    "multipage.tif",
    "multipage_rgb.tif",
    "no_time_for_that_tiny.gif",
    "lbpcascade_frontalface_opencv.xml",
)
"""Shipped files that are no ordinary photos: drawings with an alpha channel, page stacks, an animation, XML."""

BOXES = {
    "astronaut.png": (("face", 182, 70, 272, 190), ("space shuttle", 357, 0, 455, 289)),
    "chelsea.png": (("cat", 30, 0, 395, 290),),
    "coffee.png": (("cup", 172, 16, 410, 302), ("spoon", 326, 68, 425, 328)),
    "rocket.jpg": (("rocket", 308, 126, 337, 407),),
}
"""Boxes on some photos, drawn by hand: label, left, top, right, bottom in pixels."""
CROP_SOURCES = COLOUR_PHOTOS + COLOUR_PHOTOS + GREY_PHOTOS
"""Sources of crops, in turn: two colour crops for each grey one."""
MIN_SIDE_PX, MAX_SIDE_PX = 128, 640
EXIF_EVERY = 20
"""One in this many crops has EXIF with an invented orientation, camera, time and position."""
ORIENTED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""How to store pixels so that a viewer shows them upright with this EXIF orientation."""


class SampleFile(NamedTuple):
    """One file to upload. labels: as in `labeling`; empty without labels."""

    name: str
    data: bytes
    labels: Mapping[str, Any] = MappingProxyType({})


def sample_photos(count: int = 500, seed: int = 0) -> Iterator[SampleFile]:
    """The whole sample: originals, duplicates, `count` crops, and odd files spread among the crops.

    Names are unique. No two crops have equal bytes, and crop i depends only on `seed` and the crops before it, so a
    larger `count` keeps the smaller one's crops. Two files are exact copies of an original and one is an original
    re-encoded; each comes right after its original (`simulator.BURST` keeps such neighbours on one day).
    Bytes are those of the installed Pillow.
    """
    yield from _originals_and_duplicates()
    odd_list = list(_odd_files())
    yielded = 0
    for index, crop in enumerate(_crops(count, seed)):
        while yielded * count < index * len(odd_list):
            yield odd_list[yielded]
            yielded += 1
        yield crop
    yield from odd_list[yielded:]


def shipped_file(name: str) -> bytes:
    """The bytes of a file in scikit-image's data folder. Raises FileNotFoundError if the wheel no longer has it."""
    return files("skimage").joinpath("data", name).read_bytes()


def _originals_and_duplicates() -> Iterator[SampleFile]:
    for stem, extension in (("chelsea", "png"), ("rocket", "jpg")):
        name = f"{stem}.{extension}"
        data, labels = shipped_file(name), _labels(_boxes(name))
        yield SampleFile(f"sample-{name}", data, labels)
        yield SampleFile(f"sample-{stem}-copy.{extension}", data, labels)
    coffee, labels = shipped_file("coffee.png"), _labels(_boxes("coffee.png"))
    yield SampleFile("sample-coffee.png", coffee, labels)
    with Image.open(io.BytesIO(coffee)) as photo:
        yield SampleFile("sample-coffee-recompressed.jpg", encoded(photo, "JPEG", quality=80), labels)
    for name in COLOUR_PHOTOS + GREY_PHOTOS:
        if not name.startswith(("chelsea", "rocket", "coffee")):
            yield SampleFile(f"sample-{name}", shipped_file(name), _labels(_boxes(name)))


def _boxes(name: str) -> list[Box]:
    return [Box(left, top, right, bottom, extra={"label": label}) for label, left, top, right, bottom in BOXES.get(name, ())]


def _labels(boxes_found: list[Box], size_px: tuple[int, int] | None = None) -> dict[str, Any]:
    return {"boxes": boxes.to_labels(boxes_found, *(size_px or (math.inf, math.inf)))} if boxes_found else {}


def _odd_files() -> Iterator[SampleFile]:
    for name in ODD_ORIGINALS:
        yield SampleFile(f"sample-odd-{name}", shipped_file(name))
    for odd in odd_files():
        yield SampleFile(f"sample-odd-{odd.name}", odd.data)


def _crops(count: int, seed: int) -> Iterator[SampleFile]:
    decoded: dict[str, Image.Image] = {}
    digests: set[bytes] = set()
    for index in range(count):
        source = CROP_SOURCES[index % len(CROP_SOURCES)]
        if source not in decoded:
            with Image.open(io.BytesIO(shipped_file(source))) as photo:
                decoded[source] = photo.convert("L" if photo.mode == "L" else "RGB")
        attempt, data = 0, b""
        labels: Mapping[str, Any] = {}
        while not data or hashlib.sha256(data).digest() in digests:
            data, labels = _crop(decoded[source], source, index, np.random.default_rng([seed, index, attempt]))
            attempt += 1
        digests.add(hashlib.sha256(data).digest())
        yield SampleFile(f"sample-{source.rsplit('.', 1)[0]}-{index:04d}.jpg", data, labels)


def _crop(photo: Image.Image, source: str, index: int, rng: np.random.Generator) -> tuple[bytes, Mapping[str, Any]]:
    """A random window of 0.3 to 0.85 of each side, sometimes mirrored, as JPEG, with the visible boxes."""
    width, height = (_side(full, share) for full, share in zip(photo.size, rng.uniform(0.3, 0.85, 2), strict=True))
    left, top = rng.integers(0, photo.width - width + 1), rng.integers(0, photo.height - height + 1)
    window = photo.crop((int(left), int(top), int(left) + width, int(top) + height))
    matrix = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], dtype=float)
    if rng.random() < 0.5:
        window = window.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        matrix = np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]]) @ matrix
    quality = int(rng.integers(88, 96))
    save = partial(_jpeg_with_exif, rng=rng) if index % EXIF_EVERY == 0 else _jpeg
    return save(window, quality), _labels(boxes.moved(_boxes(source), matrix, width, height), window.size)


def _side(full_px: int, share: float) -> int:
    return int(np.clip(full_px * share, MIN_SIDE_PX, MAX_SIDE_PX))


def _jpeg(image: Image.Image, quality: int) -> bytes:
    return encoded(image, "JPEG", quality=quality)


def _jpeg_with_exif(image: Image.Image, quality: int, rng: np.random.Generator) -> bytes:
    orientation = int(rng.choice(list(ORIENTED)))
    turn = ORIENTED[orientation]
    return with_exif(
        image if turn is None else image.transpose(turn),
        orientation=orientation,
        # EXIF times have no zone.
        taken_at=datetime(2024, 1, 1) + timedelta(minutes=int(rng.integers(0, 500_000))),  # noqa: DTZ001
        camera=("Sample", f"Camera {rng.integers(1, 5)}"),
        position_deg=(float(rng.uniform(-60, 70)), float(rng.uniform(-180, 180))),
        quality=quality,
    )
