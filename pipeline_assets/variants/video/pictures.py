"""Contact sheets of video: frames from beginning to end, above the waveform of the sound."""

import numpy as np
from PIL import Image, ImageDraw

from pipeline_assets.variants.contact_sheet import FAINT, Cell, draw
from pipeline_assets.variants.kinds import Made, Parent, Task
from pipeline_assets.variants.video.catalogue import ENCODINGS
from pipeline_assets.variants.video.film import Film, film

FRAMES, FRAME_PX, WAVE_PX = 4, 104, 26
WIDTH_PX = FRAMES * FRAME_PX
WAVE = (38, 84, 140)
SHOWN_TICKS = 3_600
"""Of a longer video this much is shown."""


def sheet(rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
    """A PNG: each parent in a row with its variants."""
    lines = []
    for parent, variants in rows:
        original = film(parent.data)
        row = [Cell(strip(original), f"parent {parent.sha256[:8]}", _facts(original))]
        for task, made in variants:
            variant_film = film(made.data)
            name = " + ".join(step.name for step in task.recipe.steps if step.name not in ENCODINGS)
            row.append(Cell(strip(variant_film), name, _facts(variant_film)))
        lines.append(row)
    return draw(lines)


def strip(film: Film) -> Image.Image:
    """Frames side by side, each from the middle of its interval, and the sound below."""
    height = round(FRAME_PX * 3 / 4)
    image = Image.new("RGB", (WIDTH_PX, height + WAVE_PX), (246, 247, 249))
    ticks = min(film.ticks, SHOWN_TICKS)
    sample_ticks = [int((part + 0.5) * ticks / FRAMES) for part in range(FRAMES)]
    for tick, frame in zip(range(sample_ticks[-1] + 1), film.pictures(), strict=False):
        for part in (part for part, sample_tick in enumerate(sample_ticks) if sample_tick == tick):
            small = frame.to_image()  # type: ignore[no-untyped-call]
            small.thumbnail((FRAME_PX - 2, height - 2))
            image.paste(small, (part * FRAME_PX + (FRAME_PX - small.width) // 2, (height - small.height) // 2))
    if film.has_audio:
        _wave(ImageDraw.Draw(image), film, film.samples_at(ticks), height)
    return image


def _wave(pen: ImageDraw.ImageDraw, film: Film, samples: int, top: int) -> None:
    """The greatest amplitude of each column."""
    peaks = np.zeros(WIDTH_PX, np.int32)
    at = 0
    for chunk in film.sound():
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


def _facts(film: Film) -> str:
    return f"{film.duration_s:.2f} s, {film.width_px} x {film.height_px}, {float(film.rate):g} frames/s"
