"""Contact sheets for kinds other than photos: rows of small pictures with captions."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from pipeline_assets.classify.decode import decode_upright

GAP_PX = 14
NAME_PX = 13
LINE_PX = 16
MAX_LINES = 3
REAL_PX = (256, 512)
"""Largest width and height of a real picture beside variants."""
INK, FAINT, PAPER = (32, 36, 44), (120, 126, 138), (255, 255, 255)


@dataclass(frozen=True)
class Cell:
    """A picture and its caption: a name, and a fainter line of facts."""

    picture: Image.Image
    name: str
    facts: str = ""


def draw(rows: Sequence[Sequence[Cell]]) -> bytes:
    """A PNG of the rows; all pictures should have the same size. Empty rows give an empty sheet."""
    filled_rows = [list(row) for row in rows if row]
    width = max((cell.picture.width for row in filled_rows for cell in row), default=1)
    height = max((cell.picture.height for row in filled_rows for cell in row), default=1)
    columns = max((len(row) for row in filled_rows), default=1)
    row_px = height + LINE_PX * (MAX_LINES + 1) + GAP_PX
    sheet = Image.new("RGB", (GAP_PX + columns * (width + GAP_PX), GAP_PX + max(len(filled_rows), 1) * row_px), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(NAME_PX)
    for line, row in enumerate(filled_rows):
        for column, cell in enumerate(row):
            left, top = GAP_PX + column * (width + GAP_PX), GAP_PX + line * row_px
            sheet.paste(cell.picture, (left, top))
            lines_of_name = _wrapped(cell.name, font, width)
            for number, text in enumerate(lines_of_name):
                pen.text((left, top + height + 3 + number * LINE_PX), text, INK, font)
            pen.text((left, top + height + 3 + len(lines_of_name) * LINE_PX), cell.facts, FAINT, font)
    return as_png(sheet)


def as_png(sheet: Image.Image) -> bytes:
    """A sheet's bytes: a twentieth larger than Pillow can make them, in half of its usual time."""
    out = io.BytesIO()
    sheet.save(out, "PNG", compress_level=3)
    return out.getvalue()


def with_real_pictures(sheet: bytes, real: Sequence[tuple[str, bytes]]) -> bytes:
    """A contact sheet (PNG) below a row of real pictures, for comparison. real: name and bytes of each photo.

    Shows as many as fit the sheet's width, each at most REAL_PX large. Raises BadImage for bytes that are no photo.
    """
    variants_sheet = Image.open(io.BytesIO(sheet)).convert("RGB")
    cells: list[tuple[int, Cell]] = []
    left = GAP_PX
    for name, data in real:
        picture = Image.fromarray(decode_upright(data, REAL_PX[0]).pixels)
        picture.thumbnail(REAL_PX)
        if cells and left + picture.width + GAP_PX > variants_sheet.width:
            break
        cells.append((left, Cell(picture, name, "real")))
        left += picture.width + GAP_PX
    top = max((cell.picture.height for _, cell in cells), default=0) + 2 * LINE_PX + 2 * GAP_PX
    joint = Image.new("RGB", (max(variants_sheet.width, left), top + variants_sheet.height), PAPER)
    pen, font = ImageDraw.Draw(joint), ImageFont.load_default(NAME_PX)
    for x, cell in cells:
        joint.paste(cell.picture, (x, GAP_PX))
        y = GAP_PX + cell.picture.height + 3
        pen.text((x, y), textwrap.shorten(cell.name, max(4, cell.picture.width // 8)), INK, font)
        pen.text((x, y + LINE_PX), cell.facts, FAINT, font)
    joint.paste(variants_sheet, (0, top))
    return as_png(joint)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int) -> list[str]:
    """The text wrapped to the width, at most MAX_LINES."""
    letters = max(8, int(width_px / font.getlength("n")))
    return textwrap.wrap(text, letters, max_lines=MAX_LINES, placeholder=" ...") or [""]
