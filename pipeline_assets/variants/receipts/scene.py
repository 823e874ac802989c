"""The paper on a table under a lamp, rendered by mitsuba: a picture, and a map from its pixels to the paper."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline_assets.variants.receipts.layout import Grey
from pipeline_assets.variants.receipts.paper import Points

Renderer = Literal["scalar", "llvm"]
LEAST_LLVM = 17
MAPS = "uv:uv,shape:shape_index,albedo:albedo,normal:geo_normal,at:position"
"""What is known of each pixel beside its light: 2, 1, 3, 3 and 3 channels."""
LAMP = 0.6
"""Half a side of the lamp, in halves of what the camera sees."""
SMOOTHED_PX = 1.2
STEP = 6.0
"""From pixel to pixel on one layer of paper, in usual ones."""
BLOCK_PX = 32
"""Said, as mitsuba else takes smaller blocks on more threads, and a block has its own random numbers."""


@dataclass(frozen=True)
class View:
    """Camera and lamp.

    tilt_deg, turn_deg: of the camera from the vertical and around it; roll_deg: around its own axis. light: 1 is a bright
    room; ambient: the share of light from all directions. lamp: its position, in halves of the camera's view.
    margin: around the paper; below 0 the paper is cropped.
    """

    width_px: int
    height_px: int
    samples: int
    tilt_deg: float
    turn_deg: float
    roll_deg: float
    light: float
    ambient: float
    lamp: tuple[float, float, float]
    margin: float


@dataclass(frozen=True)
class Rendering:
    """linear: (H, W, 3) light. uv: (H, W, 2), of the paper, from its top left; NaN off it, on its back, between layers."""

    linear: npt.NDArray[np.float32]
    uv: npt.NDArray[np.float32]


def llvm_reason() -> str:
    """Why the LLVM renderer is unavailable; empty if it is available. An LLVM older than 17 would end the process."""
    path = os.environ.get("DRJIT_LIBLLVM_PATH", "")
    version = re.search(r"LLVM[-.a-z]*?(\d+)", Path(path).resolve().name)
    if not path or not Path(path).exists():
        return "DRJIT_LIBLLVM_PATH names no library"
    if version is None or int(version[1]) < LEAST_LLVM:
        return f"{path} is not LLVM {LEAST_LLVM} or newer"
    return ""


def render(points: Points, paper: Grey, tint: npt.NDArray[np.float32], table: npt.NDArray[np.float32], view: View,
         renderer: Renderer, seed: int, framed: Points | None = None) -> Rendering:  # fmt: skip
    """Render the sheet. tint: (3,) colour of the paper; table: (H, W, 3) its top. The result does not depend on threads.

    framed: the sheet that the camera is aimed at; by default `sheet`.
    """
    reference = points if framed is None else framed
    import mitsuba as mi

    mi.set_variant("scalar_rgb" if renderer == "scalar" else "llvm_ad_rgb")
    roll = np.radians(view.roll_deg)
    right = reference[..., 0] * np.cos(roll) - reference[..., 1] * np.sin(roll)
    above = reference[..., 0] * np.sin(roll) + reference[..., 1] * np.cos(roll)
    half = max(np.ptp(above) / 2, np.ptp(right) / 2 * view.height_px / view.width_px) * (1 + view.margin)
    distance = 4.0 * half
    tilt, turn = np.radians(view.tilt_deg), np.radians(view.turn_deg)
    eye = distance * np.array([np.sin(tilt) * np.sin(turn), -np.sin(tilt) * np.cos(turn), np.cos(tilt)])
    middle = [0.0, float(reference[..., 1].max() + reference[..., 1].min()) / 2, float(reference[..., 2].mean())]
    up = [np.sin(roll), np.cos(roll), 0.0]
    transform = mi.ScalarTransform4f
    parts = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 3, "block_size": BLOCK_PX},
        "sensor": {
            "type": "perspective",
            "fov_axis": "y",
            "fov": float(2 * np.degrees(np.arctan(half / distance))),
            "to_world": transform().look_at(origin=(eye + middle).tolist(), target=middle, up=up),
            "film": {
                "type": "hdrfilm",
                "width": view.width_px,
                "height": view.height_px,
                "rfilter": {"type": "box"},
                "pixel_format": "rgb",
                "component_format": "float32",
            },
            "sampler": {"type": "multijitter", "sample_count": view.samples},
        },
        "table": {
            "type": "rectangle",
            "to_world": transform().translate([0, middle[1], -0.01]).scale([4 * half, 4 * half, 1]),
            "bsdf": {"type": "diffuse", "reflectance": _bitmap(mi, table)},
        },
        "lamp": {
            "type": "rectangle",
            "to_world": transform()
            .look_at(origin=[c * half for c in view.lamp], target=middle, up=[0, 1, 0.01])
            .scale([LAMP * half, LAMP * half, 1]),
            "emitter": {"type": "area", "radiance": {"type": "rgb", "value": _radiance(view)}},
        },
        "sky": {"type": "constant", "radiance": {"type": "rgb", "value": view.ambient * view.light}},
    }
    scene = _with_sheet(mi, parts, points, paper, tint)
    maps = mi.load_dict({"type": "aov", "aovs": MAPS, "block_size": BLOCK_PX})
    light, maps_rendered = (
        _rendered(mi, scene, integrator, view.samples, seed) for integrator in (scene.integrator(), maps)
    )
    uv, shape = maps_rendered[..., :2], maps_rendered[..., 2]
    number = 1 + [shape.id() for shape in scene.shapes()].index("paper")  # the map counts from 1; 0 is the sky
    is_paper = np.abs(shape - number) < 1e-4
    is_front = (maps_rendered[..., 6:9] * (eye + middle - maps_rendered[..., 9:12])).sum(-1) > 0
    uv = np.where((is_paper & is_front)[..., None], uv, np.float32(np.nan))
    return Rendering(
        _smoothed(light, maps_rendered[..., 3:6], is_paper),
        np.where(_is_single_layer(uv)[..., None], uv, np.float32(np.nan)),
    )


def _is_single_layer(uv: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Where a pixel continues in at least three of its neighbours; a pixel between two layers of paper mixes both."""
    count = np.zeros(uv.shape[:2], int)
    steps = [np.linalg.norm(np.diff(uv, axis=axis), axis=-1) for axis in (0, 1)]
    if not np.isfinite(steps[1]).any():
        return count > 0
    down, right = (step < STEP * np.nanmedian(steps[1]) for step in steps)
    count[1:] += down
    count[:-1] += down
    count[:, 1:] += right
    count[:, :-1] += right
    return count >= 3


def _rendered(mi: Any, scene: Any, integrator: Any, samples: int, seed: int) -> npt.NDArray[np.float32]:
    """(H, W, channels). Light and maps are two renders: in one, LLVM would trace the light twice.

    Raises KeyboardInterrupt, on any thread, if Ctrl-C came during the render.
    """
    seed_value = mi.UInt32(seed % 2**31)
    if mi.variant().startswith("llvm"):
        import drjit

        # Values unknown to the compiler are not part of the compiled code, which then serves the next receipt too.
        parameters = mi.traverse(scene)
        drjit.make_opaque([value for _, value in parameters], seed_value)
    picture = np.array(mi.render(scene, integrator=integrator, spp=samples, seed=seed_value), np.float32)
    if integrator.should_stop():
        # mitsuba ends at Ctrl-C with a picture that is not finished. Only the main thread gets Python's own exception.
        raise KeyboardInterrupt
    return picture


def _smoothed(
    light: npt.NDArray[np.float32], albedo: npt.NDArray[np.float32], is_paper: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Remove sampling noise from the light alone: the edges of print and paper stay sharp."""
    from scipy.ndimage import gaussian_filter

    result = np.zeros_like(light)
    shade = light / np.maximum(albedo, 1e-3)
    for part in (is_paper, ~is_paper):
        weight = gaussian_filter(part.astype(np.float32), SMOOTHED_PX)[..., None]
        blurred = gaussian_filter(np.where(part[..., None], shade, np.float32(0)), (SMOOTHED_PX, SMOOTHED_PX, 0))
        result += np.where(part[..., None], blurred / np.maximum(weight, np.float32(1e-6)) * albedo, np.float32(0))
    return result


def _radiance(view: View) -> float:
    """The radiance of a lamp that lights the paper equally from any position."""
    distance = float(np.linalg.norm(view.lamp))
    return view.light * (1 - view.ambient) * distance**2 / (4 * LAMP**2) * np.pi * distance / view.lamp[2]


def _with_sheet(mi: Any, parts: Mapping[str, Any], points: Points, paper: Grey, tint: npt.NDArray[np.float32]) -> Any:
    """The scene of these parts and the sheet. It comes from a file: a ray that meets an object of Python takes its lock."""
    front = {"type": "diffuse", "reflectance": _bitmap(mi, np.clip(paper[..., None] * tint, 0, 1))}
    blank = (float(np.quantile(paper, 0.9)) * tint).tolist()
    back = {"type": "diffuse", "reflectance": {"type": "rgb", "value": blank}}
    with TemporaryDirectory() as folder:
        file = f"{folder}/sheet.ply"
        _mesh(mi, points).write_ply(file)
        sheet = {"type": "ply", "filename": file, "bsdf": {"type": "twosided", "front": front, "back": back}}
        return mi.load_dict({**parts, "paper": sheet})


def _mesh(mi: Any, points: Points) -> Any:
    along, across = points.shape[:2]
    v, u = np.meshgrid(np.linspace(0, 1, along), np.linspace(0, 1, across), indexing="ij")
    at = np.arange(along * across).reshape(along, across)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel()
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)])
    mesh = mi.Mesh("paper", along * across, len(faces), has_vertex_normals=True, has_vertex_texcoords=True)
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = np.ascontiguousarray(points, np.float32).ravel()
    parameters["vertex_texcoords"] = np.stack([u, v], -1).astype(np.float32).ravel()
    parameters["vertex_normals"] = normals(points).astype(np.float32).ravel()
    parameters["faces"] = faces.astype(np.uint32).ravel()
    parameters.update()
    return mesh


def normals(points: Points) -> Points:
    """The upward normal of each vertex."""
    down, right = np.gradient(points, axis=0), np.gradient(points, axis=1)
    products = np.cross(right, -down)
    return products / np.linalg.norm(products, axis=-1, keepdims=True)


def _bitmap(mi: Any, pixels: npt.NDArray[np.float32]) -> dict[str, Any]:
    return {
        "type": "bitmap",
        "bitmap": mi.Bitmap(np.ascontiguousarray(pixels, np.float32)),
        "raw": True,
        "wrap_mode": "clamp",
    }
