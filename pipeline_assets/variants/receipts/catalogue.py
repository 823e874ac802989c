"""The operations on receipts: what each step of a recipe means, with every number drawn. Imports are light."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from pipeline_assets.variants.operations import Operations, ascending, drawn

RECEIPTS = Operations("receipts")

Share = Annotated[float, Field(ge=0, le=1)]
Degrees = Annotated[float, Field(ge=0, le=35)]
Light = Annotated[float, Field(gt=0.02, le=3)]
Side = Annotated[int, Field(ge=32, le=2048)]
Blocks = Annotated[int, Field(ge=32, le=2048, multiple_of=16)]
Count = Annotated[int, Field(ge=0, le=6)]
Contrast = Annotated[float, Field(ge=0.5, le=4)]
Margin = Annotated[float, Field(ge=-0.3, le=1)]
Samples = Annotated[int, Field(ge=1, le=1024)]

TABLES = ("white", "dark", "wood", "stone")


@dataclass(frozen=True)
class Setting:
    """One receipt's scene.

    light: 1 is a bright room; ambient: its share from all around; exposure: of the paper, 1 is white; contrast: 1 is the
    light's own. margin: about the paper in shares of it, below 0 it is cut. marks: 0 for none to 1 for many.
    """

    width_px: int
    height_px: int
    samples: int
    renderer: Literal["scalar", "llvm"]
    wrinkle: float
    folds: int
    curl: float
    tilt_deg: float
    light: float
    contrast: float
    ambient: float
    exposure: float
    margin: float
    marks: float
    table: str


@dataclass(frozen=True)
class Unfolding:
    """A clip of a number of pictures, `rate` per second: from folded to flat, and then as in `still`."""

    still: Setting
    frames: int
    rate: int


@dataclass(frozen=True)
class Filmed:
    """A clip's format: H.264 of this constant quality."""

    crf: int


@dataclass(frozen=True)
class Written:
    """The picture's format; quality None is PNG."""

    quality: int | None


@RECEIPTS.operation(version=5)
def render(
    random: np.random.Generator,
    *,
    width_px: Side = 256,
    height_px: Side = 512,
    samples: Samples = 8,
    renderer: Literal["scalar", "llvm"] = "scalar",
    wrinkle: Share | Annotated[tuple[Share, Share], AfterValidator(ascending)] = (0.1, 0.5),
    folds: Annotated[tuple[Count, Count], AfterValidator(ascending)] = (0, 2),
    curl: Share | Annotated[tuple[Share, Share], AfterValidator(ascending)] = (0.0, 0.4),
    tilt_deg: Degrees | Annotated[tuple[Degrees, Degrees], AfterValidator(ascending)] = (0.0, 15.0),
    light: Light | Annotated[tuple[Light, Light], AfterValidator(ascending)] = (0.7, 1.2),
    contrast: Contrast | Annotated[tuple[Contrast, Contrast], AfterValidator(ascending)] = (0.95, 1.4),
    ambient: Share | Annotated[tuple[Share, Share], AfterValidator(ascending)] = (0.25, 0.6),
    exposure: Light | Annotated[tuple[Light, Light], AfterValidator(ascending)] = (0.75, 1.1),
    margin: Margin | Annotated[tuple[Margin, Margin], AfterValidator(ascending)] = (-0.04, 0.14),
    marks: Share | Annotated[tuple[Share, Share], AfterValidator(ascending)] = (0.0, 0.5),
    table: Literal["any", "white", "dark", "wood", "stone"] = "any",
) -> Setting:
    """Print the template's receipt, wrinkle the sheet, and photograph it on a table; ranges are sampled by the seed."""
    bent, curled, tilted, lit, harder = (drawn(value, random) for value in (wrinkle, curl, tilt_deg, light, contrast))
    around, exposed, apart, marked = (drawn(value, random) for value in (ambient, exposure, margin, marks))
    count = int(random.integers(folds[0], folds[1] + 1))
    top = TABLES[int(random.integers(len(TABLES)))] if table == "any" else table
    size, paper = (width_px, height_px, samples, renderer), (bent, count, curled, tilted)
    return Setting(*size, *paper, lit, harder, around, exposed, apart, marked, top)


@RECEIPTS.operation(version=4)
def unfold(
    random: np.random.Generator,
    *,
    width_px: Blocks = 256,
    height_px: Blocks = 384,
    samples: Samples = 2,
    renderer: Literal["scalar", "llvm"] = "scalar",
    frames: Annotated[int, Field(ge=2, le=240)] = 24,
    rate: Annotated[int, Field(ge=1, le=60)] = 12,
    folds: Annotated[tuple[Count, Count], AfterValidator(ascending)] = (1, 2),
    wrinkle: Share | Annotated[tuple[Share, Share], AfterValidator(ascending)] = (0.0, 0.25),
    tilt_deg: Degrees | Annotated[tuple[Degrees, Degrees], AfterValidator(ascending)] = (0.0, 12.0),
    light: Light | Annotated[tuple[Light, Light], AfterValidator(ascending)] = (0.8, 1.2),
    table: Literal["any", "white", "dark", "wood", "stone"] = "any",
) -> Unfolding:
    """A clip of one sheet that unfolds; the labels give the visible lines of each picture."""
    still = render(
        random,
        width_px=width_px,
        height_px=height_px,
        samples=samples,
        renderer=renderer,
        wrinkle=wrinkle,
        folds=folds,
        curl=0.0,
        tilt_deg=tilt_deg,
        light=light,
        margin=(0.05, 0.15),
        table=table,
    )
    return Unfolding(still, frames, rate)


@RECEIPTS.operation()
def jpeg(*, quality: Annotated[int, Field(ge=1, le=95)] = 92) -> Written:
    """Write a JPEG, without chroma subsampling."""
    return Written(quality)


@RECEIPTS.operation()
def png() -> Written:
    """Write a lossless PNG."""
    return Written(None)


@RECEIPTS.operation()
def mp4(*, crf: Annotated[int, Field(ge=0, le=40)] = 20) -> Filmed:
    """Write an MP4: H.264 of constant quality (lower is better), without sound."""
    return Filmed(crf)
