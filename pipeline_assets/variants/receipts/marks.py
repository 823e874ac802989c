"""Marks added to a printed receipt: handwriting, specks of dirt, punched holes. None of them is labelled."""

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from pipeline_assets.variants.receipts.layout import Grey

WORDS, SPECKS, HOLES = 1.8, 16.0, 0.35
"""How many there are on average where marks are 1."""


def marked(paper: Grey, marks: float, random: np.random.Generator) -> Grey:
    """The paper with marks. marks: 0 for none to 1 for many."""
    height, width = paper.shape
    overlay = Image.new("L", (width, height))
    pen = ImageDraw.Draw(overlay)
    for _ in range(int(random.poisson(WORDS * marks))):
        _word(pen, width, height, random)
    for _ in range(int(random.poisson(SPECKS * marks))):
        _dot(pen, width, height, float(random.uniform(0.6, 4) ** 1.2), random)
    for _ in range(int(random.poisson(HOLES * marks))):
        _dot(pen, width, height, float(random.uniform(9, 20)), random)
    covered = gaussian_filter(np.asarray(overlay, np.float32) / np.float32(255), 0.7)
    return np.asarray(paper * (1 - covered) + np.float32(random.uniform(0.03, 0.3)) * covered, np.float32)


def _word(pen: ImageDraw.ImageDraw, width: int, height: int, random: np.random.Generator) -> None:
    """Smooth strokes side by side, one per letter, anywhere on the paper."""
    size, weight = float(random.uniform(22, 90)), int(random.integers(2, 6))
    left, top = float(random.uniform(0, width - size)), float(random.uniform(0, height - size))
    for letter in range(int(random.integers(1, 7))):
        walk = gaussian_filter1d(random.standard_normal((40, 2)).cumsum(0), 3, axis=0)
        walk = (walk - walk.min(0)) / np.maximum(np.ptp(walk, axis=0), 1e-6) * (0.65 * size, size)
        x, y = (walk + np.array([left + letter * 0.6 * size, top])).T.tolist()
        pen.line(list(zip(x, y, strict=True)), fill=255, width=weight, joint="curve")


def _dot(pen: ImageDraw.ImageDraw, width: int, height: int, radius: float, random: np.random.Generator) -> None:
    x, y, flat = float(random.uniform(0, width)), float(random.uniform(0, height)), float(random.uniform(0.6, 1))
    pen.ellipse((x - radius, y - radius * flat, x + radius, y + radius * flat), fill=255)
