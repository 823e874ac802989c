"""From a recipe and a seed to a plan: where on the parent the canvas lies, and the effects in order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline_assets.errors import BadRecipe
from pipeline_assets.variants.photos import boxes, effects
from pipeline_assets.variants.photos.catalogue import PHOTOS
from pipeline_assets.variants.photos.effects import Canvas, Effect, Encoding, Fit, Warp
from pipeline_assets.variants.recipes import Recipe, Step, generator

FIRST = "fit"
LAST = ("jpeg", "png", "webp")
LONGEST_ASPECT = 3.0
"""A longer photo that keeps its aspect is cut to its centre of this one: canvases stay small."""

Region = tuple[float, float, float, float]
"""left, top, right, bottom on a photo, in its pixels."""


@dataclass(frozen=True)
class Plan:
    """All that decides pixels. region: what of the photo fills the canvas; mirrored: along which axes, 0 down, 1 across."""

    canvas: Canvas
    region: Region
    mirrored: tuple[int, ...]
    effects: tuple[Effect, ...]


def complete(recipe: Recipe) -> Recipe:
    """The recipe resolved, with `fit` first and a step that encodes last. Raises BadRecipe if either is elsewhere."""
    steps = list(recipe.steps)
    if steps[0].name != FIRST:
        steps.insert(0, Step(FIRST))
    if steps[-1].name not in LAST:
        steps.append(Step(LAST[0]))
    for step in steps[1:-1]:
        if step.name in (FIRST, *LAST):
            raise BadRecipe(
                f"photos: {step.name} is between other steps. {FIRST} comes first, and {' or '.join(LAST)} last."
            )
    if len(steps) == 2:
        raise BadRecipe("photos: a recipe needs a step beside size and encoding, or its result is the parent again.")
    return PHOTOS.resolve(Recipe.of(steps))


@dataclass(frozen=True, eq=False)
class Compiled:
    """A completed recipe, ready to be carried out many times. steps: what each does, and its parameters."""

    fit: Fit
    steps: tuple[tuple[Callable[..., Effect | Sequence[Effect]], dict[str, Any]], ...]
    encoding: Encoding


@lru_cache(maxsize=256)
def compiled(recipe: Recipe) -> Compiled:
    """A completed recipe compiled."""
    called = [(PHOTOS[step.name].function, dict(step.parameters)) for step in recipe.steps]
    (fit, fit_parameters), (encoding, encoding_parameters) = called[0], called[-1]
    return Compiled(fit(**fit_parameters), tuple(called[1:-1]), encoding(**encoding_parameters))


def canvas_of(fit: Fit, width: int, height: int) -> Canvas:
    """The canvas that a photo of width x height pixels is fitted to."""
    if fit.is_square:
        return Canvas(fit.side_px, fit.side_px)
    aspect = min(max(width / height, 1 / LONGEST_ASPECT), LONGEST_ASPECT)
    side = fit.side_px
    return Canvas(round(side * aspect), side) if aspect >= 1 else Canvas(side, round(side / aspect))


def centred(canvas: Canvas, width: float, height: float) -> Region:
    """The largest region in the middle of a photo that has the canvas's aspect."""
    scale = min(width / canvas.width, height / canvas.height)
    w, h = canvas.width * scale, canvas.height * scale
    return (width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2


def plan(recipe: Compiled, seed: int, canvas: Canvas, region: Region) -> Plan:
    """The plan by a recipe for a photo whose region fills the canvas. It is drawn from the seed alone.

    A cut or mirroring right after the fit becomes a part of it: the cut is then scaled once, from all the pixels there are.
    """
    random = generator(seed, "photos")
    found: list[Effect] = []
    for function, parameters in recipe.steps:
        made = function(canvas, random, **parameters)
        found += made if isinstance(made, Sequence) else [made]
    found = effects.fused(found)
    if not (found and isinstance(found[0], Warp) and effects.is_upright(found[0].matrix)):
        return Plan(canvas, region, (), tuple(found))
    scale_x, scale_y = found[0].matrix[0, 0], found[0].matrix[1, 1]
    mirrored = tuple(axis for axis, scale in ((1, scale_x), (0, scale_y)) if scale < 0)
    return Plan(canvas, _within(region, canvas, found[0].matrix), mirrored, tuple(found[1:]))


@dataclass(frozen=True)
class Labelled:
    """A photo's labels, in pixels of the whole photo, and the region of it that fills the canvas."""

    labels: Mapping[str, Any]
    region: Region

    def boxes_on(self, canvas: Canvas, mirrored: tuple[int, ...] = ()) -> list[boxes.Box]:
        """The boxes on the canvas. Raises UnfitParent(bad_labels)."""
        onto = _onto(self.region, mirrored, canvas)
        return boxes.moved(boxes.read(self.labels), onto, float(canvas.width), float(canvas.height))

    @property
    def rest(self) -> dict[str, Any]:
        """Labels but the boxes."""
        return {name: value for name, value in self.labels.items() if name != "boxes"}


def labels_after(plan: Plan, own: Labelled, other: Labelled | None = None) -> dict[str, Any]:
    """The labels after a plan. other: of the photo that is mixed in.

    Keys but `boxes` are kept. What was mixed in stands under `mixed`: its share of the picture and its other labels.
    Raises UnfitParent(bad_labels).
    """
    canvas = plan.canvas
    w, h = float(canvas.width), float(canvas.height)
    have_boxes = "boxes" in own.labels or (other is not None and "boxes" in other.labels)
    if not have_boxes and not other:
        return own.rest
    found = own.boxes_on(canvas, plan.mirrored)
    theirs = other.boxes_on(canvas) if other else []
    share = 0.0
    for effect in plan.effects:
        match effect:
            case effects.Warp(matrix):
                found = boxes.moved(found, matrix, w, h)
            case effects.Cut(rectangle, _):
                found = boxes.covered(found, *rectangle)
            case effects.Blend(share):
                found = found + theirs
            case effects.Paste(rectangle):
                found = boxes.covered(found, *rectangle) + boxes.clipped(theirs, *rectangle)
                share = (rectangle[2] - rectangle[0]) * (rectangle[3] - rectangle[1]) / (w * h)
    mixed = {"mixed": {"share": round(share, 6), "labels": other.rest}} if other else {}
    return {**own.rest, **({"boxes": boxes.written(found, w, h)} if have_boxes else {}), **mixed}


def _within(region: Region, canvas: Canvas, matrix: effects.Matrix) -> Region:
    """The part of a region that an upright warp brings onto the canvas."""
    ends_x = sorted((x - matrix[0, 2]) / matrix[0, 0] for x in (0, canvas.width))
    ends_y = sorted((y - matrix[1, 2]) / matrix[1, 1] for y in (0, canvas.height))
    left, top, right, bottom = region
    x, y = (right - left) / canvas.width, (bottom - top) / canvas.height
    return left + ends_x[0] * x, top + ends_y[0] * y, left + ends_x[1] * x, top + ends_y[1] * y


def _onto(region: Region, mirrored: tuple[int, ...], canvas: Canvas) -> effects.Matrix:
    """From a photo's pixels to the canvas that shows its region."""
    left, top, right, bottom = region
    x, y = canvas.width / (right - left), canvas.height / (bottom - top)
    onto = np.array([[x, 0, -left * x], [0, y, -top * y], [0, 0, 1.0]])
    flips = np.eye(3)
    if 1 in mirrored:
        flips[0] = (-1, 0, canvas.width)
    if 0 in mirrored:
        flips[1] = (0, -1, canvas.height)
    return flips @ onto
