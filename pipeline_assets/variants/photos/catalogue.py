"""The operations on photos: what each step of a recipe means, as effects with every number drawn.

`operation(canvas, random, *, parameters)` returns one effect or several. No operation invents pixels: a rotation or a
perspective zooms in until no corner is empty, so that the labels stay complete.
"""

from collections.abc import Sequence
from math import cos, radians, sin
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline_assets.classify.styles import REC709
from pipeline_assets.variants.operations import Operations, drawn
from pipeline_assets.variants.photos.effects import (
    Blend,
    Blur,
    Canvas,
    Colour,
    Curve,
    Cut,
    Detail,
    Effect,
    Encoding,
    Fit,
    Matrix,
    Noise,
    Paste,
    Recompress,
    Rectangle,
    Vignette,
    Warp,
)

Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
Factor = Annotated[float, Field(ge=0, le=8)]
Degrees = Annotated[float, Field(ge=-180, le=180)]
Sigma = Annotated[float, Field(gt=0, le=32)]
Quality = Annotated[int, Field(ge=1, le=95)]
Stops = Annotated[float, Field(ge=-4, le=4)]
Aspect = Annotated[float, Field(ge=0.25, le=4)]
Generator = np.random.Generator

PHOTOS = Operations("photos")
_LUMA = np.array(REC709)
_SEPIA = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
"""The toning matrix of W3C Filter Effects 1, `sepia()`."""
_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)
_TONES = np.arange(256) / 255


@PHOTOS.operation()
def fit(*, side_px: Annotated[int, Field(ge=16, le=1536)] = 224, shape: Literal["square", "aspect"] = "square") -> Fit:
    """Bring the photo to its size: the centre as a square, or its short side to `side_px` with the aspect kept."""
    return Fit(side_px, shape == "square")


@PHOTOS.operation()
def crop(
    canvas: Canvas,
    random: Generator,
    *,
    area: Part | Literal[1] | tuple[Part, Share] = (0.5, 1.0),
    aspect: Aspect | tuple[Aspect, Aspect] = (0.85, 1.18),
) -> Warp:
    """Cut out a part of this share of the area and of this aspect, relative to the photo's, and scale it up again."""
    share, stretch = drawn(area, random), drawn(aspect, random)
    width = min(canvas.width, max(1.0, canvas.width * (share * stretch) ** 0.5))
    height = min(canvas.height, max(1.0, canvas.height * (share / stretch) ** 0.5))
    left = random.uniform(0, canvas.width - width)
    top = random.uniform(0, canvas.height - height)
    x, y = canvas.width / width, canvas.height / height
    return Warp(np.array([[x, 0, -left * x], [0, y, -top * y], [0, 0, 1.0]]))


@PHOTOS.operation()
def flip(
    canvas: Canvas,
    random: Generator,
    *,
    axis: Literal["horizontal", "vertical", "both"] = "horizontal",
    chance: Share = 1.0,
) -> Warp:
    """Mirror left and right, top and bottom, or both, with this probability."""
    is_done = random.random() < chance
    x = -1.0 if is_done and axis != "vertical" else 1.0
    y = -1.0 if is_done and axis != "horizontal" else 1.0
    return Warp(np.array([[x, 0, canvas.width * (x < 0)], [0, y, canvas.height * (y < 0)], [0, 0, 1.0]]))


@PHOTOS.operation()
def rotate(canvas: Canvas, random: Generator, *, degrees: Degrees | tuple[Degrees, Degrees] = (-20.0, 20.0)) -> Warp:
    """Turn clockwise about the centre, zoomed in as far as it takes for no corner to be empty."""
    angle = radians(drawn(degrees, random))
    c, s = cos(angle), sin(angle)
    longer = max(canvas.width / canvas.height, canvas.height / canvas.width)
    zoom = abs(c) + abs(s) * longer
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1 / zoom]])
    x, y = canvas.width / 2, canvas.height / 2
    moved = _shift(x, y) @ turn @ _shift(-x, -y)
    return Warp(moved / moved[2, 2])


@PHOTOS.operation()
def perspective(canvas: Canvas, random: Generator, *, strength: Annotated[float, Field(gt=0, le=0.45)] = 0.2) -> Warp:
    """View from an angle: show a four-sided part whose corners lie up to `strength` of a side inside the photo."""
    inward = random.uniform(0, strength, (4, 2)) * (canvas.width, canvas.height)
    corners = np.array([(0, 0), (canvas.width, 0), (canvas.width, canvas.height), (0, canvas.height)], dtype=float)
    signs = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    return Warp(_homography(corners + signs * inward, corners))


@PHOTOS.operation(version=3)
def colour(
    canvas: Canvas,
    random: Generator,
    *,
    brightness: Factor | tuple[Factor, Factor] = (0.8, 1.2),
    contrast: Factor | tuple[Factor, Factor] = (0.8, 1.2),
    saturation: Factor | tuple[Factor, Factor] = (0.6, 1.4),
    hue: Degrees | tuple[Degrees, Degrees] = (-10.0, 10.0),
) -> Colour:
    """Change brightness, contrast about middle grey, saturation (0: grey) and hue in degrees; 1 changes nothing."""
    light, spread = drawn(brightness, random), drawn(contrast, random)
    mixed = _saturated(drawn(saturation, random)) @ _hue_turned(drawn(hue, random))
    return Colour(np.column_stack([light * spread * mixed, np.full(3, (1 - spread) / 2)]))


@PHOTOS.operation()
def exposure(canvas: Canvas, random: Generator, *, stops: Stops | tuple[Stops, Stops] = (-1.0, 1.0)) -> Curve:
    """Expose for more or less light, in stops: linear light is doubled once for each, and cut off at white."""
    linear = np.where(_TONES <= 0.04045, _TONES / 12.92, ((_TONES + 0.055) / 1.055) ** 2.4)
    light = np.minimum(linear * 2 ** drawn(stops, random), 1)
    return _curve(np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055))


@PHOTOS.operation()
def blur(canvas: Canvas, random: Generator, *, sigma: Sigma | tuple[Sigma, Sigma] = (0.6, 2.0)) -> Blur:
    """Blur by a Gaussian of this standard deviation in pixels."""
    return Blur(drawn(sigma, random))


@PHOTOS.operation()
def noise(
    canvas: Canvas,
    random: Generator,
    *,
    sigma: Part | tuple[Part, Part] = (0.02, 0.08),
    is_grey: bool = False,
) -> Noise:
    """Add Gaussian noise of this standard deviation, of 1, to each channel or, if grey, the same to all three."""
    return Noise(drawn(sigma, random), _seed(random), is_grey)


@PHOTOS.operation()
def recompress(canvas: Canvas, random: Generator, *, quality: Quality | tuple[Quality, Quality] = (10, 50)) -> Recompress:
    """Encode as a JPEG of this quality and decode it."""
    return Recompress(round(drawn(quality, random)))


@PHOTOS.operation()
def cutout(
    canvas: Canvas,
    random: Generator,
    *,
    area: Part | tuple[Part, Part] = (0.05, 0.2),
    holes: Annotated[int, Field(ge=1, le=16)] = 1,
    grey: Share = 0.5,
) -> Sequence[Effect]:
    """Cover rectangles, each of this share of the area, with grey."""
    return [Cut(_rectangle(canvas, random, drawn(area, random), 2.0), grey) for _ in range(holes)]


@PHOTOS.operation(parents=2)
def mixup(canvas: Canvas, random: Generator, *, share: Part | tuple[Part, Part] = (0.2, 0.5)) -> Blend:
    """Blend with a second photo, of which this share shows."""
    return Blend(drawn(share, random))


@PHOTOS.operation(parents=2)
def cutmix(canvas: Canvas, random: Generator, *, area: Part | tuple[Part, Part] = (0.15, 0.45)) -> Paste:
    """Show a second photo in a rectangle of this share of the area."""
    return Paste(_rectangle(canvas, random, drawn(area, random), 1.5))


@PHOTOS.operation(version=3)
def black_and_white(
    canvas: Canvas,
    random: Generator,
    *,
    contrast: Share | tuple[Share, Share] = (0.1, 0.6),
    filter: Share | tuple[Share, Share] = (0.0, 0.6),
) -> Sequence[Effect]:
    """Grey, as through a red filter of this strength on black-and-white film, with an S-curve of this contrast."""
    red = drawn(filter, random)
    weights = (1 - red) * _LUMA + red * np.array([0.75, 0.25, 0.0])
    return [Colour(np.column_stack([np.tile(weights, (3, 1)), np.zeros(3)])), _curve(_s_shaped(drawn(contrast, random)))]


@PHOTOS.operation(version=3)
def sepia(canvas: Canvas, random: Generator, *, strength: Share | tuple[Share, Share] = (0.75, 1.0)) -> Colour:
    """Brown tones, as on old prints."""
    amount = drawn(strength, random)
    return Colour(np.column_stack([amount * _SEPIA + (1 - amount) * np.eye(3), np.zeros(3)]))


@PHOTOS.operation()
def high_key(
    canvas: Canvas,
    random: Generator,
    *,
    gamma: Factor | tuple[Factor, Factor] = (0.4, 0.6),
    lift: Share | tuple[Share, Share] = (0.12, 0.3),
) -> Curve:
    """Bright tones: shadows are lifted by this share of white, and tones raised to the power gamma."""
    floor = drawn(lift, random)
    return _curve(floor + (1 - floor) * _TONES ** drawn(gamma, random))


@PHOTOS.operation()
def low_key(
    canvas: Canvas,
    random: Generator,
    *,
    gamma: Factor | tuple[Factor, Factor] = (1.8, 2.6),
    strength: Share | tuple[Share, Share] = (0.2, 0.6),
) -> Sequence[Effect]:
    """Dark tones with a bright centre: tones are raised to the power gamma, corners darkened by `strength`."""
    return [_curve(_TONES ** drawn(gamma, random)), Vignette(drawn(strength, random))]


@PHOTOS.operation(version=3)
def vintage(
    canvas: Canvas,
    random: Generator,
    *,
    fade: Share | tuple[Share, Share] = (0.08, 0.2),
    warmth: Share | tuple[Share, Share] = (0.06, 0.16),
    grain: Part | tuple[Part, Part] = (0.015, 0.04),
    strength: Share | tuple[Share, Share] = (0.15, 0.45),
) -> Sequence[Effect]:
    """Faded film: pale blacks, warm lights over bluish shadows, weak colours, dark corners, grain."""
    floor, warm = drawn(fade, random), drawn(warmth, random)
    tones = floor + (0.96 - floor) * _s_shaped(0.3)
    lights, shadows = _TONES, 1 - _TONES
    split = [tones + warm * lights, tones + warm * 0.3 * lights, tones + warm * (0.5 * shadows - lights)]
    return [
        Colour(np.column_stack([_saturated(0.65), np.zeros(3)])),
        Curve(np.clip(split, 0, 1).astype(np.float32)),
        Vignette(drawn(strength, random)),
        Noise(drawn(grain, random), _seed(random), is_grey=True),
    ]


@PHOTOS.operation(version=4)
def strong_hdr(
    canvas: Canvas,
    random: Generator,
    *,
    detail: Factor | tuple[Factor, Factor] = (0.9, 1.8),
    saturation: Factor | tuple[Factor, Factor] = (1.2, 1.6),
) -> Sequence[Effect]:
    """Exaggerated tone mapping: highlights and shadows compressed, detail amplified (1 doubles it), strong colours."""
    together = 0.12 + 0.76 * _TONES**0.8
    mixed = _saturated(drawn(saturation, random))
    return [_curve(together), Detail(drawn(detail, random)), Colour(np.column_stack([mixed, np.zeros(3)]))]


@PHOTOS.operation()
def jpeg(*, quality: Quality = 92) -> Encoding:
    """Write a JPEG, its colour at half the resolution (4:2:0)."""
    return Encoding("jpeg", quality)


@PHOTOS.operation()
def png() -> Encoding:
    """Write a lossless PNG."""
    return Encoding("png")


@PHOTOS.operation()
def webp() -> Encoding:
    """Write a lossless WebP."""
    return Encoding("webp")


def _shift(x: float, y: float) -> Matrix:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def _homography(source: Matrix, target: Matrix) -> Matrix:
    """The (3, 3) matrix that takes four points, (4, 2), to four others. Source: Heckbert 1989, 2.2.3."""
    rows, right = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(right)), 1.0).reshape(3, 3)


def _saturated(factor: float) -> Matrix:
    """Between grey of the same luma (0) and the colour itself (1), and beyond."""
    return factor * np.eye(3) + (1 - factor) * np.tile(_LUMA, (3, 1))


def _hue_turned(degrees: float) -> Matrix:
    """Rotate the chroma plane of YIQ; luma is unchanged."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return _FROM_YIQ @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ _TO_YIQ


def _s_shaped(amount: float) -> npt.NDArray[np.float64]:
    """Tones with more contrast in the middle: from the straight line (0) to smoothstep (1)."""
    return _TONES + amount * (_TONES * _TONES * (3 - 2 * _TONES) - _TONES)


def _curve(tones: npt.NDArray[np.float64]) -> Curve:
    """The same for all three channels."""
    return Curve(np.tile(np.clip(tones, 0, 1).astype(np.float32), (3, 1)))


def _rectangle(canvas: Canvas, random: Generator, share: float, stretch: float) -> Rectangle:
    """A place for a rectangle of this share of the canvas's area, up to `stretch` times as wide or as high in proportion."""
    aspect = float(np.exp(random.uniform(-np.log(stretch), np.log(stretch))))
    width = min(max(round(canvas.width * (share * aspect) ** 0.5), 1), canvas.width)
    height = min(max(round(canvas.height * (share / aspect) ** 0.5), 1), canvas.height)
    left, top = int(random.integers(0, canvas.width - width + 1)), int(random.integers(0, canvas.height - height + 1))
    return left, top, left + width, top + height


def _seed(random: Generator) -> int:
    return int(random.integers(2**63))
