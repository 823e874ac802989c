"""One receipt from its shop, setting and seed: text, print, paper, scene, picture, labels; and its clip."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.kinds import Made
from pipeline_assets.variants.receipts import camera, layout, marks, paper, scene, truth
from pipeline_assets.variants.receipts.catalogue import Filmed, Setting, Unfolding, Written
from pipeline_assets.variants.receipts.templates import Shop
from pipeline_assets.variants.receipts.text import Receipt, receipt_of
from pipeline_assets.variants.recipes import generator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av import VideoFrame

TABLE_PX = 192
FOLDED_DEG, UNFOLDED_DEG = 172.0, 5.0
"""Of each fold, at a clip's begin and end."""
FLATTENED = 0.8
"""Of the wrinkles, at a clip's end."""


@dataclass(frozen=True)
class Stage:
    """A receipt with its table, lamp and camera: all that stays while the paper moves."""

    setting: Setting
    seed: int
    receipt: Receipt
    sheet: layout.Sheet
    view: scene.View
    tint: npt.NDArray[np.float32]
    top: npt.NDArray[np.float32]
    blur_px: float
    noise: float

    @property
    def length(self) -> float:
        """Of the sheet, in its widths."""
        return self.sheet.paper.shape[0] / layout.WIDTH_PX

    @property
    def creases(self) -> paper.Creases:
        """How the paper was treated."""
        return paper.Creases(self.setting.wrinkle, self.setting.folds, self.setting.curl)

    def seen(self, points: paper.Points, frame: int = 0, framed: paper.Points | None = None) -> scene.Seen:
        """The sheet as it lies now. frame: whose noise is drawn."""
        told = self.view, self.setting.renderer, self.seed + frame
        return scene.seen(points, self.sheet.paper, self.tint, self.top, *told, framed)

    def taken(self, found: scene.Seen, exposure: float, frame: int = 0) -> npt.NDArray[np.uint8]:
        """The camera's picture."""
        random = generator(self.seed, f"noise {frame}" if frame else "noise")
        return camera.taken(found.linear, exposure, self.setting.contrast, self.blur_px, self.noise, random)

    def lines(self, found: scene.Seen) -> list[dict[str, Any]]:
        """Labels of the lines that are seen."""
        size = self.sheet.paper.shape
        return truth.lines_seen(found.uv, self.sheet.lines, size[::-1], paper_px_of_a_pixel(found.uv, size))

    def columns(self, lines: Sequence[object], exposure: float, **more: Any) -> dict[str, Any]:
        """The row's own columns."""
        drawn = {
            "view": asdict(self.view),
            "creases": asdict(self.creases),
            "table": self.setting.table,
            "marks": self.setting.marks,
            "exposure": exposure,
            "contrast": self.setting.contrast,
            "blur_px": self.blur_px,
            "noise": self.noise,
        }
        return {
            "width_px": self.view.width_px,
            "height_px": self.view.height_px,
            "visible_lines": len(lines),
            "fields_json": _json(self.receipt.fields),
            "scene_json": _json(drawn | more),
        }


def staged(shop: Shop, setting: Setting, seed: int) -> Stage:
    """Everything but the paper's shape. Raises UnfitParent where LLVM is asked for and not there."""
    if setting.renderer == "llvm" and (reason := scene.llvm_reason()):
        raise UnfitParent("no_renderer", reason)
    receipt = receipt_of(shop, generator(seed, "text"))
    clean = layout.printed(receipt, shop.is_mono, generator(seed, "print"))
    sheet = layout.Sheet(marks.marked(clean.paper, setting.marks, generator(seed, "marks")), clean.lines)
    random = generator(seed, "scene")
    view, tint = view_of(setting, random), _tint(random)
    top = table(setting.table, random)
    blur, noise = float(random.uniform(0.25, 0.75)), float(random.uniform(0.004, 0.018)) / np.sqrt(setting.light)
    return Stage(setting, seed, receipt, sheet, view, tint, top, blur, noise)


def made(shop: Shop, setting: Setting, written: Written, seed: int) -> Made:
    """A picture. Raises UnfitParent where LLVM is asked for and not there."""
    stage, encoding = staged(shop, setting, seed), camera.Encoding(written.quality)
    found = stage.seen(paper.creased(stage.length, stage.creases, generator(seed, "paper")))
    exposure, lines = exposure_of(found, setting), stage.lines(found)
    return Made(
        encoding.written(stage.taken(found, exposure)),
        encoding.media_type,
        str(encoding),
        labels={"lines": lines, "fields": stage.receipt.fields},
        columns=stage.columns(lines, exposure),
    )


def filmed(shop: Shop, unfolding: Unfolding, written: Filmed, seed: int) -> Made:
    """A clip of the sheet from folded to flat; labels have the lines of each picture. Raises UnfitParent as `made`."""
    from pipeline_assets.variants.video import catalogue, writing
    from pipeline_assets.variants.video.film import Film

    stage = staged(shop, unfolding.still, seed)
    ends = np.linspace(0, 1, unfolding.frames)
    opened = ends**2 * (3 - 2 * ends)
    framed = paper.flat(stage.length)
    shots = [stage.seen(_opened(stage, float(share)), at, framed) for at, share in enumerate(opened)]
    exposure = exposure_of(shots[-1], unfolding.still)

    def pictures() -> "Iterator[VideoFrame]":
        import av

        from pipeline_assets.variants.video.filters import Converted

        coded = Converted("yuv420p")
        for at, shot in enumerate(shots):
            yield coded(av.VideoFrame.from_ndarray(stage.taken(shot, exposure, at), format="rgb24"))

    film = Film(stage.view.width_px, stage.view.height_px, Fraction(unfolding.rate), unfolding.frames, pictures)
    how = catalogue.mp4(film, generator(seed), crf=written.crf)
    frames = [{"lines": stage.lines(shot)} for shot in shots]
    return Made(
        writing.written(film, how),
        how.media_type,
        how.encoding.partition(";")[0],
        labels={"frames": frames, "fields": stage.receipt.fields},
        columns=stage.columns(frames[-1]["lines"], exposure, frames=unfolding.frames, rate=unfolding.rate),
    )


def _opened(stage: Stage, share: float) -> paper.Points:
    """The sheet at a moment of its unfolding. share: 0 folded to 1 flat."""
    wrinkles = paper.Creases(stage.setting.wrinkle, 0, 0.0)
    sheet = paper.creased(stage.length, wrinkles, generator(stage.seed, "paper"), FLATTENED * share)
    angle = FOLDED_DEG + (UNFOLDED_DEG - FOLDED_DEG) * share
    return paper.folded(sheet, stage.length, stage.setting.folds, angle)


def view_of(setting: Setting, random: np.random.Generator) -> scene.View:
    """Camera and lamp. A crease shows where light comes from the side, so a lamp is seldom overhead."""
    turn, around = float(random.uniform(-180, 180)), float(random.uniform(0, 2 * np.pi))
    away, high = float(random.uniform(2.0, 3.0)), float(random.uniform(1.4, 2.8))
    lamp = (away * float(np.cos(around)), away * float(np.sin(around)), high)
    size = (setting.width_px, setting.height_px, setting.samples)
    roll = float(random.uniform(-1, 1)) * (1.5 + 0.7 * setting.tilt_deg)
    return scene.View(*size, setting.tilt_deg, turn, roll, setting.light, setting.ambient, lamp, setting.margin)


def exposure_of(found: scene.Seen, setting: Setting) -> float:
    """As cameras do: paper is brought near white, but for a part of what the light lacks."""
    is_paper = np.isfinite(found.uv[..., 0])
    bright = float(np.quantile(found.linear[is_paper], 0.9)) if is_paper.any() else 1.0
    return setting.exposure * min(setting.light, 1.0) ** 0.7 / max(bright, 1e-3)


def paper_px_of_a_pixel(uv: npt.NDArray[np.float32], paper_px: tuple[int, ...]) -> float:
    """How many pixels of the print one of the picture spans, in the middle of what is seen."""
    steps = np.diff(uv * np.array(paper_px[::-1]), axis=1)
    lengths = np.linalg.norm(steps, axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    return float(np.median(lengths)) if len(lengths) else 1.0


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _tint(random: np.random.Generator) -> npt.NDArray[np.float32]:
    warm = float(random.uniform(0, 0.08))
    return np.array([1.0, 1.0 - 0.3 * warm, 1.0 - warm], np.float32)


def table(name: str, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """(TABLE_PX, TABLE_PX, 3) reflectance of a table's top."""
    noise = random.standard_normal((TABLE_PX, TABLE_PX))
    level = {"white": 0.85, "dark": 0.03, "wood": 0.3, "stone": 0.35}[name] * float(random.uniform(0.75, 1.1))
    if name == "wood":
        grain = gaussian_filter(noise, (14, 0.8))
        grain = grain / grain.std() * 0.18 + 0.3 * np.sin(12 * gaussian_filter(noise, (40, 6)) / 0.02)
        colour = np.array([1.0, 0.68, 0.42]) * random.uniform(0.85, 1.1, 3)
        return np.clip(level * (1 + 0.5 * grain[..., None]) * colour, 0, 1).astype(np.float32)
    coarse = gaussian_filter(noise, float(random.uniform(0.6, 4)))
    spread = {"white": 0.01, "dark": 0.15, "stone": 0.2}[name]
    colour = random.uniform(0.9, 1.1, 3) if name != "white" else np.ones(3)
    return np.clip(level * (1 + spread * coarse / coarse.std())[..., None] * colour, 0, 1).astype(np.float32)
