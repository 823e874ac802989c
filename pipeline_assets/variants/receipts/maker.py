"""One receipt from its shop, setting and seed: text, print, paper, scene, picture, labels."""

import json
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.kinds import Made
from pipeline_assets.variants.receipts import camera, layout, marks, paper, scene, truth
from pipeline_assets.variants.receipts.catalogue import Setting, Written
from pipeline_assets.variants.receipts.templates import Shop
from pipeline_assets.variants.receipts.text import receipt_of
from pipeline_assets.variants.recipes import generator

TABLE_PX = 192


def made(shop: Shop, setting: Setting, written: Written, seed: int) -> Made:
    """The variant. Raises UnfitParent where LLVM is asked for and not there."""
    if setting.renderer == "llvm" and (reason := scene.llvm_reason()):
        raise UnfitParent("no_renderer", reason)
    receipt = receipt_of(shop, generator(seed, "text"))
    sheet = layout.printed(receipt, shop.is_mono, generator(seed, "print"))
    length = sheet.paper.shape[0] / layout.WIDTH_PX
    creases = paper.Creases(setting.wrinkle, setting.folds, setting.curl)
    points = paper.creased(length, creases, generator(seed, "paper"))
    random = generator(seed, "scene")
    view, tint = view_of(setting, random), _tint(random)
    top = table(setting.table, random)
    paper_seen = marks.marked(sheet.paper, setting.marks, generator(seed, "marks"))
    found = scene.seen(points, paper_seen, tint, top, view, setting.renderer, seed)
    blur, noise = float(random.uniform(0.25, 0.75)), float(random.uniform(0.004, 0.018)) / np.sqrt(setting.light)
    exposure = exposure_of(found, setting)
    pixels = camera.taken(found.linear, exposure, setting.contrast, blur, noise, generator(seed, "noise"))
    lines = truth.lines_seen(
        found.uv, sheet.lines, sheet.paper.shape[::-1], paper_px_of_a_pixel(found.uv, sheet.paper.shape)
    )
    shot = {
        "view": asdict(view),
        "creases": asdict(creases),
        "table": setting.table,
        "marks": setting.marks,
        "exposure": exposure,
        "contrast": setting.contrast,
    }
    scene_json = json.dumps({**shot, "blur_px": blur, "noise": noise}, sort_keys=True, separators=(",", ":"))
    encoding = camera.Encoding(written.quality)
    return Made(
        encoding.written(pixels),
        encoding.media_type,
        str(encoding),
        labels={"lines": lines, "fields": receipt.fields},
        columns={
            "width_px": view.width_px,
            "height_px": view.height_px,
            "visible_lines": len(lines),
            "fields_json": json.dumps(receipt.fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
            "scene_json": scene_json,
        },
    )


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
