"""From a recipe and a seed to a plan: where on the parent the canvas lies, and the effects in order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline_assets.errors import BadRecipe
from pipeline_assets.variants.photos import effects, marks
from pipeline_assets.variants.photos.catalogue import PHOTOS
from pipeline_assets.variants.photos.effects import Canvas, Effect, Encoding, Fit, Warp
from pipeline_assets.variants.recipes import Recipe, Step, generator

FIRST = "fit"
LAST = ("jpeg", "png", "webp")
LONGEST_ASPECT = 3.0
"""A longer photo that keeps its aspect is cut to its centre of this one: canvases stay small."""

KEEP_MARKS = (
    effects.Colour,
    effects.Curve,
    effects.Blur,
    effects.Noise,
    effects.Recompress,
    effects.Vignette,
    effects.Detail,
)
"""Effects after which each thing is where it was. `marks_after` has those that move or cover marks; all others drop them."""

Region = tuple[float, float, float, float]
"""left, top, right, bottom on a photo, in its pixels."""


@dataclass(frozen=True)
class Plan:
    """What determines the pixels. region: the part of the photo on the canvas; mirrored: axes, 0 vertical, 1 horizontal."""

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
        raise BadRecipe("photos: a recipe needs a step other than size and encoding, or its result equals the parent.")
    return PHOTOS.resolve(Recipe.of(steps))


@dataclass(frozen=True, eq=False)
class Compiled:
    """A completed recipe, prepared for many variants. steps: each step's operation and parameters."""

    fit: Fit
    steps: tuple[tuple[Callable[..., Effect | Sequence[Effect]], dict[str, Any]], ...]
    encoding: Encoding


@lru_cache(maxsize=256)
def compiled(recipe: Recipe) -> Compiled:
    """A completed recipe compiled."""
    functions = [(PHOTOS[step.name].function, dict(step.parameters)) for step in recipe.steps]
    (fit, fit_parameters), (encoding, encoding_parameters) = functions[0], functions[-1]
    return Compiled(fit(**fit_parameters), tuple(functions[1:-1]), encoding(**encoding_parameters))


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
    """A recipe's plan for a photo whose region fills the canvas, drawn from the seed alone.

    A crop or flip right after the fit is merged into it: the crop is then scaled once, from full-resolution pixels.
    """
    random = generator(seed, "photos")
    drawn_effects: list[Effect] = []
    for function, parameters in recipe.steps:
        effect = function(canvas, random, **parameters)
        drawn_effects += effect if isinstance(effect, Sequence) else [effect]
    drawn_effects = effects.fused(drawn_effects)
    if not (drawn_effects and isinstance(drawn_effects[0], Warp) and effects.is_upright(drawn_effects[0].matrix)):
        return Plan(canvas, region, (), tuple(drawn_effects))
    scale_x, scale_y = drawn_effects[0].matrix[0, 0], drawn_effects[0].matrix[1, 1]
    mirrored = tuple(axis for axis, scale in ((1, scale_x), (0, scale_y)) if scale < 0)
    return Plan(canvas, _visible_region(region, canvas, drawn_effects[0].matrix), mirrored, tuple(drawn_effects[1:]))


@dataclass(frozen=True)
class Labelled:
    """A photo's labels, in pixels of the whole photo, and the region of it that fills the canvas."""

    labels: Mapping[str, Any]
    region: Region

    def marks_on(self, canvas: Canvas, mirrored: tuple[int, ...] = ()) -> marks.Marks:
        """The marks on the canvas. Raises UnfitParent(bad_labels)."""
        onto = _onto(self.region, mirrored, canvas)
        return marks.read(self.labels).moved(onto, float(canvas.width), float(canvas.height))

    @property
    def rest(self) -> dict[str, Any]:
        """Labels without positions."""
        return {name: value for name, value in self.labels.items() if name not in marks.KEYS}


def labels_after(plan: Plan, own: Labelled, other: Labelled | None = None) -> dict[str, Any]:
    """The labels after a plan. other: labels of the second photo of a mix.

    Keys other than `boxes` and `masks` are kept. The second photo is under `mixed`: its share of the picture and its other
    labels. Raises UnfitParent(bad_labels).
    """
    canvas = plan.canvas
    w, h = float(canvas.width), float(canvas.height)
    names = [name for name in marks.KEYS if name in own.labels or (other is not None and name in other.labels)]
    if not names and not other:
        return own.rest
    own_marks: marks.Marks | None = own.marks_on(canvas, plan.mirrored)
    other_marks = other.marks_on(canvas) if other else marks.NONE
    share = 0.0
    for effect in plan.effects:
        own_marks = marks_after(effect, own_marks, canvas, other_marks)
        match effect:
            case effects.Blend(share):
                pass
            case effects.Paste(rectangle):
                share = (rectangle[2] - rectangle[0]) * (rectangle[3] - rectangle[1]) / (w * h)
    mixed = {"mixed": {"share": round(share, 6), "labels": other.rest}} if other else {}
    mark_labels = own_marks.to_labels(w, h) if own_marks else {}
    return {**own.rest, **{name: mark_labels[name] for name in names if name in mark_labels}, **mixed}


def marks_after(
    effect: Effect, own_marks: marks.Marks | None, canvas: Canvas, other_marks: marks.Marks = marks.NONE
) -> marks.Marks | None:
    """The marks after an effect; None if they are unknown. other_marks: those of the second photo of a mix."""
    if own_marks is None or isinstance(effect, KEEP_MARKS):
        return own_marks
    match effect:
        case effects.Warp(matrix):
            return own_marks.moved(matrix, float(canvas.width), float(canvas.height))
        case effects.Cut(rectangle, _):
            return own_marks.covered(*rectangle)
        case effects.Blend():
            return own_marks + other_marks
        case effects.Paste(rectangle):
            return own_marks.covered(*rectangle) + other_marks.clipped(*rectangle)
    return None


def _visible_region(region: Region, canvas: Canvas, matrix: effects.Matrix) -> Region:
    """The part of a region that an upright warp shows on the canvas."""
    ends_x = sorted((x - matrix[0, 2]) / matrix[0, 0] for x in (0, canvas.width))
    ends_y = sorted((y - matrix[1, 2]) / matrix[1, 1] for y in (0, canvas.height))
    left, top, right, bottom = region
    x, y = (right - left) / canvas.width, (bottom - top) / canvas.height
    return left + ends_x[0] * x, top + ends_y[0] * y, left + ends_x[1] * x, top + ends_y[1] * y


def _onto(region: Region, mirrored: tuple[int, ...], canvas: Canvas) -> effects.Matrix:
    """The transform from a photo's pixels to the canvas that shows its region."""
    left, top, right, bottom = region
    x, y = canvas.width / (right - left), canvas.height / (bottom - top)
    onto = np.array([[x, 0, -left * x], [0, y, -top * y], [0, 0, 1.0]])
    flips = np.eye(3)
    if 1 in mirrored:
        flips[0] = (-1, 0, canvas.width)
    if 0 in mirrored:
        flips[1] = (0, -1, canvas.height)
    return flips @ onto
