"""The contact sheet of photos: parents and their variants side by side, with the boxes of their labels. Uses Pillow."""

import io
import textwrap
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from pipeline_assets.runtime.blobs import bytes_of
from pipeline_assets.variants.contact_sheet import as_png
from pipeline_assets.variants.kinds import Made, Parent, Task
from pipeline_assets.variants.photos import codec
from pipeline_assets.variants.photos.plans import FIRST, LAST
from pipeline_assets.variants.recipes import Recipe

CELL_PX, GAP_PX, CAPTION_PX, FONT_PX = 176, 12, 34, 12
PAPER, INK, BOX = (250, 249, 246), (45, 45, 45), (255, 64, 64)


def draw(rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
    """A PNG: in each row a parent, then its variants with the names of their steps. An empty list gives an empty sheet."""
    columns = 1 + max((len(made) for _, made in rows), default=0)
    size = (GAP_PX + columns * (CELL_PX + GAP_PX), GAP_PX + max(len(rows), 1) * (CELL_PX + CAPTION_PX + GAP_PX))
    sheet = Image.new("RGB", size, PAPER)
    for row, (parent, variants) in enumerate(rows):
        top = GAP_PX + row * (CELL_PX + CAPTION_PX + GAP_PX)
        photo = codec.decoded(bytes_of(parent.data), CELL_PX)
        _place(sheet, 0, top, Image.fromarray(photo.pixels), photo.size, parent.labels, f"parent {parent.sha256[:8]}")
        for column, (task, made) in enumerate(variants, 1):
            image = Image.open(io.BytesIO(bytes_of(made.data))).convert("RGB")
            _place(sheet, column, top, image, image.size, made.labels, caption(task.recipe))
    return as_png(sheet)


def caption(recipe: Recipe) -> str:
    """The names of the steps, without size and encoding."""
    return " + ".join(step.name.replace("_", " ") for step in recipe.steps if step.name not in (FIRST, *LAST))


def _place(
    sheet: Image.Image,
    column: int,
    top: int,
    image: Image.Image,
    size: tuple[int, int],
    labels: Mapping[str, Any],
    text: str,
) -> None:
    """Draw a picture with its boxes, which are in pixels of `size`, into a cell."""
    scale = CELL_PX / max(image.size)
    thumbnail = image.resize(
        (max(round(image.width * scale), 1), max(round(image.height * scale), 1)), Image.Resampling.LANCZOS
    )
    left = GAP_PX + column * (CELL_PX + GAP_PX)
    x, y = left + (CELL_PX - thumbnail.width) // 2, top + (CELL_PX - thumbnail.height) // 2
    sheet.paste(thumbnail, (x, y))
    pen = ImageDraw.Draw(sheet)
    across, down = thumbnail.width / size[0], thumbnail.height / size[1]
    for box in labels.get("boxes", ()):
        corner = (x + box["x"] * across, y + box["y"] * down)
        pen.rectangle((*corner, corner[0] + box["width"] * across, corner[1] + box["height"] * down), outline=BOX, width=2)
    font = ImageFont.load_default(FONT_PX)
    lines = textwrap.shorten(text, 56, placeholder=" ...")
    pen.multiline_text((left, top + CELL_PX + 4), "\n".join(textwrap.wrap(lines, 28)), fill=INK, font=font, spacing=2)
