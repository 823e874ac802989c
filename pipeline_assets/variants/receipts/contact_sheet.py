"""The contact sheet of receipts: their lines framed; four pictures of a clip. Uses Pillow."""

import io
import json
from collections.abc import Mapping
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from pipeline_assets.runtime.blobs import bytes_of
from pipeline_assets.variants.contact_sheet import as_png
from pipeline_assets.variants.kinds import Made, Parent, Task

CELL_PX, GAP_PX, CAPTION_PX = (256, 512), 12, 22
PAPER, INK, FRAME = (250, 249, 246), (45, 45, 45), (255, 64, 64, 150)


def draw(rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
    """A PNG: each parent in a row with its receipts. An empty list gives an empty sheet."""
    columns = max((len(receipt) for _, receipt in rows), default=1)
    step = CELL_PX[0] + GAP_PX, CELL_PX[1] + GAP_PX + CAPTION_PX
    sheet = Image.new("RGB", (GAP_PX + columns * step[0], GAP_PX + max(len(rows), 1) * step[1]), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for row, (_, variants) in enumerate(rows):
        for column, (_, receipt) in enumerate(variants):
            picture = shown_as(receipt)
            picture.thumbnail(CELL_PX)
            x, y = GAP_PX + column * step[0], GAP_PX + row * step[1]
            sheet.paste(picture, (x, y))
            fields = receipt.labels["fields"]
            creases = json.loads(str(receipt.columns["scene_json"]))["creases"]
            caption = (
                f"{fields['company'][:16]} {fields['total']}, wrinkle {creases['wrinkle']:.2f}, folds {creases['folds']}"
            )
            pen.text((x, y + CELL_PX[1] + 3), caption, fill=INK, font=font)
    return as_png(sheet)


def shown_as(variant: Made) -> Image.Image:
    """The receipt with its lines framed; for a clip, the first picture, the last, and two in between."""
    data = bytes_of(variant.data)
    if "frames" not in variant.labels:
        return framed(Image.open(io.BytesIO(data)), variant.labels)
    pictures, labels = _pictures(data), variant.labels["frames"]
    width, height = pictures[0].size
    sheet = Image.new("RGB", (2 * width, 2 * height), PAPER)
    for at in range(4):
        number = at * (len(pictures) - 1) // 3
        sheet.paste(framed(pictures[number], labels[number]), (at % 2 * width, at // 2 * height))
    return sheet


def framed(picture: Image.Image, labels: Mapping[str, Any]) -> Image.Image:
    """The picture with each line's quad, fainter for lines that are less visible."""
    picture = picture.convert("RGB")
    pen = ImageDraw.Draw(picture, "RGBA")
    for line in labels["lines"]:
        quad = [tuple(at) for at in line["quad"]]
        pen.line([*quad, quad[0]], fill=(*FRAME[:3], round(FRAME[3] * line["visibility"])), width=1)
    return picture


def _pictures(data: bytes) -> list[Image.Image]:
    import av

    with av.open(io.BytesIO(data), "r") as clip:
        return [Image.fromarray(frame.to_ndarray(format="rgb24")) for frame in clip.decode(video=0)]
