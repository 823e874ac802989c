"""A receipt as printed: a grey picture of flat paper, and the position of each run of text."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from pipeline_assets.variants.receipts.text import Receipt, Row

WIDTH_PX = 576
"""Of the paper: what an 80 mm thermal printer has, 8 dots a millimetre."""
MARGIN_PX = 26
TALL = 0.3
"""Share of printers whose letters are higher than wide, as thermal ones often print them."""
_TABLE = (0.0, 0.5, 0.75, 1.0)
"""Right edges of a table's columns but the first, in shares of the width."""

Grey = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Printed:
    """A run of text. box: left, top, right, bottom of its ink in pixels of the paper."""

    text: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Sheet:
    """paper: (H, WIDTH_PX) reflectance in [0, 1]."""

    paper: Grey
    lines: tuple[Printed, ...]


@dataclass
class _Pen:
    """The style of letters.

    cell: width of a letter of size 1 in a fixed-width font; stretch, tall: horizontal and vertical scale of letters.
    """

    image: Image.Image
    size_px: float
    cell: float | None
    stretch: float
    tall: float

    def drawn(self, text: str, row: Row) -> Image.Image:
        """The text's ink, white on black, cropped to the ink."""
        size = self.size_px * row.size
        font = ImageFont.load_default(size)
        advance = self.cell * row.size if self.cell else 0.0
        width = advance * len(text) if self.cell else font.getlength(text)
        ink = Image.new("L", (int(width + 2 * size), int(2 * size)))
        pen, weight = ImageDraw.Draw(ink), 0.025 * size if row.is_bold else 0
        if self.cell:
            for at, letter in enumerate(text):
                _in_cell(ink, letter, font, weight, size / 2 + at * advance, size / 3, advance)
        else:
            pen.text((size / 2, size / 3), text, fill=255, font=font, stroke_width=weight)
        box = ink.getbbox() or (0, 0, 1, 1)
        trimmed = ink.crop((box[0], 0, box[2], ink.height))
        size_px = max(1, round(trimmed.width * self.stretch)), round(trimmed.height * self.tall)
        return trimmed.resize(size_px, Image.Resampling.BILINEAR)


def _in_cell(
    ink: Image.Image,
    letter: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    weight: float,
    left: float,
    top: float,
    width: float,
) -> None:
    """Draw a letter in the middle of its cell, narrowed if it is wider than the cell."""
    size = font.getlength(letter) + 2 * weight
    glyph = Image.new("L", (int(size + 4), ink.height))
    ImageDraw.Draw(glyph).text((glyph.width / 2, top), letter, fill=255, font=font, anchor="ma", stroke_width=weight)
    if glyph.width > width:
        glyph = glyph.resize((max(1, int(width)), glyph.height), Image.Resampling.BILINEAR)
    ink.paste(255, (round(left + (width - glyph.width) / 2), 0), glyph)


def printed(receipt: Receipt, is_mono: bool, random: np.random.Generator) -> Sheet:
    """The receipt on paper of the length it needs."""
    size = float(random.uniform(20, 27))
    cell = size * float(random.uniform(0.5, 0.7)) if is_mono else None
    tall = float(random.uniform(1.15, 1.5)) if random.random() < TALL else 1.0
    pen = _Pen(Image.new("L", (WIDTH_PX, 5000)), size, cell, float(random.uniform(0.82, 1.0)), tall)
    leading = size * tall * float(random.uniform(1.02, 1.4))
    top, lines = float(random.uniform(14, 60)), list[Printed]()
    for row in receipt.rows:
        if row.placed == "rule":
            _rule(pen, row.cells[0], top + size * 0.6)
        elif row.placed == "barcode":
            _barcode(pen, row.cells[0], top)
            top += 60
        else:
            lines += _row(pen, row, top)
        top += leading * (0.6 if row.placed in ("rule", "gap") else max(row.size, 1.0))
    height = int(top + random.uniform(16, 80))
    ink = np.asarray(pen.image.crop((0, 0, WIDTH_PX, height)), np.float32) / np.float32(255)
    return Sheet(_on_paper(ink, random), tuple(lines))


def _row(pen: _Pen, row: Row, top: float) -> list[Printed]:
    """Print the cells from the right, so that a cell is narrowed to the room left of the next."""
    runs, room = list[Printed](), WIDTH_PX - 2 * MARGIN_PX
    free = float(room)
    for at, text in reversed(list(enumerate(row.cells))):
        if not text.strip():
            continue
        ink = pen.drawn(text, row)
        if ink.width > room * 0.98 or (row.placed == "spread" and len(row.cells) == 2 and ink.width > room * 0.7):
            ink = ink.resize((int(room * (0.98 if len(row.cells) == 1 else 0.7)), ink.height), Image.Resampling.BILINEAR)
        spare = room - ink.width
        if row.placed == "centre":
            left = spare / 2
        elif row.placed == "table":
            left = _TABLE[at] * room - (ink.width if at else 0)
        else:
            indent = len(text) - len(text.lstrip())
            left = spare if at else min(indent * pen.size_px * 0.5, spare)
        if left + ink.width > free:
            ink = ink.resize((max(1, int(free - left)), ink.height), Image.Resampling.BILINEAR)
        free = left - pen.size_px * 0.3
        x, y = round(MARGIN_PX + left), round(top - pen.size_px * row.size * pen.tall / 3)
        pen.image.paste(255, (x, y), ink)
        box = ink.getbbox() or (0, 0, 1, 1)
        runs.append(Printed(text.strip(), (x + box[0], y + box[1], x + box[2], y + box[3])))
    return runs[::-1]


def _rule(pen: _Pen, mark: str, y: float) -> None:
    draw, step = ImageDraw.Draw(pen.image), pen.size_px * 0.5
    if mark == "_":
        draw.line((MARGIN_PX, y, WIDTH_PX - MARGIN_PX, y), fill=255, width=2)
        return
    for left in np.arange(MARGIN_PX, WIDTH_PX - MARGIN_PX - step * 0.6, step):
        draw.line((left, y, left + step * 0.6, y), fill=255, width=2)


def _barcode(pen: _Pen, digits: str, top: float) -> None:
    """Bars as wide as the digits: it resembles a barcode and encodes nothing."""
    draw, x = ImageDraw.Draw(pen.image), WIDTH_PX * 0.24
    for digit in map(int, digits):
        for bar, gap in ((1 + digit % 3, 1 + digit // 4), (1 + digit // 5, 1 + digit % 2)):
            draw.rectangle((x, top, x + 2 * bar - 1, top + 64), fill=255)
            x += 2 * (bar + gap)


def _on_paper(ink: Grey, random: np.random.Generator) -> Grey:
    """Add the defects of thermal print: ink spreads, darkness varies by row and letter, and dots are missing."""
    height, width = ink.shape
    spread = gaussian_filter(ink, float(random.uniform(0.5, 0.9)))
    bands = gaussian_filter1d(random.standard_normal(height), 25)[:, None]
    patches = gaussian_filter(random.standard_normal((height // 8 + 1, width // 8 + 1)), 2.5)
    patches = np.repeat(np.repeat(patches, 8, 0), 8, 1)[:height, :width]
    dots = (random.random((height, width)) > random.uniform(0, 0.12)).astype(np.float32)
    weight = np.clip(1 + 1.2 * bands + 0.8 * patches, 0.45, 1.1) * gaussian_filter(dots, 0.4)
    white, black = float(random.uniform(0.8, 0.93)), float(random.uniform(0.03, 0.25))
    grain = 0.012 * gaussian_filter(random.standard_normal((height, width)), 0.7)
    covered = np.clip(spread * 1.6 * weight, 0, 1)
    return np.clip(white + grain - covered * (white - black), 0, 1).astype(np.float32)
