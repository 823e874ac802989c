"""Makes one receipt from its shop, setting and seed: text, print, paper, scene, picture or clip, and labels."""

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
    """A receipt with its table, lamp and camera: what stays the same while the paper moves."""

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
        """The treatment of the paper."""
        return paper.Creases(self.setting.wrinkle, self.setting.folds, self.setting.curl)

    def render(self, points: paper.Points, frame: int = 0, framed: paper.Points | None = None) -> scene.Rendering:
        """Render the sheet in its current shape. frame: selects the noise."""
        settings = self.view, self.setting.renderer, self.seed + frame
        return scene.render(points, self.sheet.paper, self.tint, self.top, *settings, framed)

    def photograph(self, rendering: scene.Rendering, exposure: float, frame: int = 0) -> npt.NDArray[np.uint8]:
        """The camera's picture."""
        random = generator(self.seed, f"noise {frame}" if frame else "noise")
        return camera.photograph(rendering.linear, exposure, self.setting.contrast, self.blur_px, self.noise, random)

    def lines(self, rendering: scene.Rendering) -> list[dict[str, Any]]:
        """Labels of the visible lines."""
        size = self.sheet.paper.shape
        return truth.lines_seen(rendering.uv, self.sheet.lines, size[::-1], paper_px_of_a_pixel(rendering.uv, size))

    def columns(self, lines: Sequence[object], exposure: float, **extra: Any) -> dict[str, Any]:
        """The row's columns specific to receipts."""
        scene_facts = {
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
            "scene_json": _json(scene_facts | extra),
        }


def stage_of(shop: Shop, setting: Setting, seed: int) -> Stage:
    """Everything except the paper's shape. Raises UnfitParent if LLVM is requested and missing."""
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


def render_picture(shop: Shop, setting: Setting, output: Written, seed: int) -> Made:
    """Make a picture. Raises UnfitParent if LLVM is requested and missing."""
    stage, encoding = stage_of(shop, setting, seed), camera.Encoding(output.quality)
    rendering = stage.render(paper.creased(stage.length, stage.creases, generator(seed, "paper")))
    exposure, lines = exposure_of(rendering, setting), stage.lines(rendering)
    return Made(
        encoding.encode(stage.photograph(rendering, exposure)),
        encoding.media_type,
        str(encoding),
        labels={"lines": lines, "fields": stage.receipt.fields},
        columns=stage.columns(lines, exposure),
    )


def render_clip(shop: Shop, unfolding: Unfolding, output: Filmed, seed: int) -> Made:
    """Make a clip of the sheet from folded to flat, with each picture's lines. Raises UnfitParent as `render_picture`."""
    from pipeline_assets.variants.video import catalogue, writing
    from pipeline_assets.variants.video.film import Film

    stage = stage_of(shop, unfolding.still, seed)
    ends = np.linspace(0, 1, unfolding.frames)
    shares = ends**2 * (3 - 2 * ends)
    framed = paper.flat(stage.length)
    shots = [stage.render(_unfolded_sheet(stage, float(share)), at, framed) for at, share in enumerate(shares)]
    exposure = exposure_of(shots[-1], unfolding.still)

    def pictures() -> "Iterator[VideoFrame]":
        import av

        from pipeline_assets.variants.video.filters import Converted

        coded = Converted("yuv420p")
        for at, shot in enumerate(shots):
            yield coded(av.VideoFrame.from_ndarray(stage.photograph(shot, exposure, at), format="rgb24"))

    film = Film(stage.view.width_px, stage.view.height_px, Fraction(unfolding.rate), unfolding.frames, pictures)
    encoding = catalogue.mp4(film, generator(seed), crf=output.crf)
    frames = [{"lines": stage.lines(shot)} for shot in shots]
    return Made(
        writing.encode(film, encoding),
        encoding.media_type,
        encoding.encoding.partition(";")[0],
        labels={"frames": frames, "fields": stage.receipt.fields},
        columns=stage.columns(frames[-1]["lines"], exposure, frames=unfolding.frames, rate=unfolding.rate),
    )


def _unfolded_sheet(stage: Stage, share: float) -> paper.Points:
    """The sheet during its unfolding. share: 0 folded to 1 flat."""
    wrinkles = paper.Creases(stage.setting.wrinkle, 0, 0.0)
    sheet = paper.creased(stage.length, wrinkles, generator(stage.seed, "paper"), FLATTENED * share)
    angle = FOLDED_DEG + (UNFOLDED_DEG - FOLDED_DEG) * share
    return paper.folded(sheet, stage.length, stage.setting.folds, angle)


def view_of(setting: Setting, random: np.random.Generator) -> scene.View:
    """Draw camera and lamp. Creases are visible in light from the side, so the lamp is seldom overhead."""
    turn, around = float(random.uniform(-180, 180)), float(random.uniform(0, 2 * np.pi))
    horizontal, height = float(random.uniform(2.0, 3.0)), float(random.uniform(1.4, 2.8))
    lamp = (horizontal * float(np.cos(around)), horizontal * float(np.sin(around)), height)
    size = (setting.width_px, setting.height_px, setting.samples)
    roll = float(random.uniform(-1, 1)) * (1.5 + 0.7 * setting.tilt_deg)
    return scene.View(*size, setting.tilt_deg, turn, roll, setting.light, setting.ambient, lamp, setting.margin)


def exposure_of(rendering: scene.Rendering, setting: Setting) -> float:
    """Automatic exposure: the paper becomes nearly white, darker in dim light."""
    is_paper = np.isfinite(rendering.uv[..., 0])
    bright = float(np.quantile(rendering.linear[is_paper], 0.9)) if is_paper.any() else 1.0
    return setting.exposure * min(setting.light, 1.0) ** 0.7 / max(bright, 1e-3)


def paper_px_of_a_pixel(uv: npt.NDArray[np.float32], paper_px: tuple[int, ...]) -> float:
    """How many pixels of the print one pixel of the picture spans, in the middle of the view."""
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
    """(TABLE_PX, TABLE_PX, 3) reflectance of a table top."""
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
