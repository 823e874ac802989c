"""What video looks like on a contact sheet: frames from begin to end, over the waveform of the sound."""

import numpy as np
from PIL import Image, ImageDraw

from pipeline_assets.variants.contact_sheet import FAINT, Cell, drawn
from pipeline_assets.variants.kinds import Made, Parent, Task
from pipeline_assets.variants.video.film import Film, film
from pipeline_assets.variants.video.kind import ENCODINGS

FRAMES, FRAME_PX, WAVE_PX = 4, 104, 26
WIDTH_PX = FRAMES * FRAME_PX
WAVE = (38, 84, 140)
SHOWN_TICKS = 3_600
"""Of a longer video this much is shown."""


def sheet(shown: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
    """A PNG: each parent in a row with its variants."""
    rows = []
    for parent, variants in shown:
        original = film(parent.data)
        row = [Cell(strip(original), f"parent {parent.sha256[:8]}", _facts(original))]
        for task, made in variants:
            found = film(made.data)
            name = " + ".join(step.name for step in task.recipe.steps if step.name not in ENCODINGS)
            row.append(Cell(strip(found), name, _facts(found)))
        rows.append(row)
    return drawn(rows)


def strip(shown: Film) -> Image.Image:
    """Frames side by side, each from the middle of its part of the time, and the sound under them."""
    height = round(FRAME_PX * 3 / 4)
    image = Image.new("RGB", (WIDTH_PX, height + WAVE_PX), (246, 247, 249))
    ticks = min(shown.ticks, SHOWN_TICKS)
    wanted = [int((part + 0.5) * ticks / FRAMES) for part in range(FRAMES)]
    for tick, frame in zip(range(wanted[-1] + 1), shown.pictures(), strict=False):
        for part in (part for part, one in enumerate(wanted) if one == tick):
            small = frame.to_image()  # type: ignore[no-untyped-call]
            small.thumbnail((FRAME_PX - 2, height - 2))
            image.paste(small, (part * FRAME_PX + (FRAME_PX - small.width) // 2, (height - small.height) // 2))
    if shown.has_audio:
        _wave(ImageDraw.Draw(image), shown, shown.samples_at(ticks), height)
    return image


def _wave(pen: ImageDraw.ImageDraw, shown: Film, samples: int, top: int) -> None:
    """The loudest sample of each column."""
    peaks = np.zeros(WIDTH_PX, np.int32)
    at = 0
    for chunk in shown.sound():
        columns = np.minimum((np.arange(at, at + len(chunk)) * WIDTH_PX) // max(samples, 1), WIDTH_PX - 1)
        np.maximum.at(peaks, columns, np.abs(chunk.astype(np.int32)).max(axis=1))
        at += len(chunk)
        if at >= samples:
            break
    middle = top + WAVE_PX / 2
    pen.line((0, middle, WIDTH_PX, middle), FAINT)
    for x, peak in enumerate(peaks):
        half = peak / 32_768 * (WAVE_PX / 2 - 1)
        pen.line((x, middle - half, x, middle + half), WAVE)


def _facts(shown: Film) -> str:
    return f"{shown.duration_s:.2f} s, {shown.width_px} x {shown.height_px}, {float(shown.rate):g} frames/s"
