"""Receipts as a kind of data: from a shop's template to a picture or a clip of one of its receipts.

mitsuba and scipy are imported with the first variant: definitions load without them.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline_assets.errors import BadRecipe, UnfitParent
from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.operations import Operations
from pipeline_assets.variants.receipts.catalogue import RECEIPTS, Unfolding
from pipeline_assets.variants.receipts.templates import shop_of
from pipeline_assets.variants.recipes import Recipe, generator

ENCODINGS = {"render": ("jpeg", "png"), "unfold": ("mp4",)}
"""How each is written; the first unless said."""
FIELDS = {"company", "date", "address", "total"}


class Receipts:
    """Rendered receipts.

    labels: {"lines": [{"text", "quad": [[x, y] * 4], "visibility"}], "fields": {company, date, address, total}}; a quad runs
    clockwise from the text's top left, in pixels; visibility is the visible share of the line's paper. A clip has
    {"frames": [{"lines"}], "fields"}, with one entry per picture.
    """

    name = "receipts"
    heeds_labels = False
    labels_version = 1
    operations: Operations = RECEIPTS
    recipes: Mapping[str, Recipe] = {
        "flat": Recipe("render", wrinkle=(0.0, 0.06), folds=(0, 0), curl=(0.0, 0.1), tilt_deg=(0.0, 4.0), light=(0.9, 1.2)),
        "scanned": Recipe(
            "render",
            wrinkle=(0.0, 0.12),
            folds=(0, 1),
            curl=0.0,
            tilt_deg=(0.0, 2.0),
            light=1.1,
            contrast=(1.4, 2.8),
            ambient=(0.8, 1.0),
            exposure=(0.85, 1.3),
            margin=(-0.03, 0.05),
            marks=(0.0, 1.0),
        ),
        "wrinkled": Recipe("render"),
        "folded": Recipe("render", wrinkle=(0.0, 0.2), folds=(1, 4)),
        "crumpled": Recipe("render", wrinkle=(0.7, 1.0), folds=(0, 2), curl=(0.1, 0.6)),
        "dim": Recipe("render", light=(0.15, 0.45)),
        "unfolding": Recipe("unfold", frames=12),
    }

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe resolved: one rendering, then an encoding, JPEG of quality 92 or MP4 unless said. Raises BadRecipe."""
        first, *further = (step.name for step in recipe.steps)
        usual = ENCODINGS.get(first, ())
        if not further and usual:
            return self.operations.resolve(recipe.then(Recipe(usual[0])))
        resolved = self.operations.resolve(recipe)
        if len(further) != 1 or further[0] not in usual:
            raise BadRecipe(f"a recipe of receipts is one rendering and its encoding, which {recipe.name} is not")
        return resolved

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """Yield variants one by one, in order; a rendering uses all cores."""
        for task, (parent, *_) in work:
            yield task, _outcome(task, parent)

    def problems(self, variant: Made) -> list[str]:
        """Quads outside the picture, visibilities outside [0, 1], and fields that differ from the columns."""
        faults: list[str] = []
        frames, fields = variant.labels.get("frames", [variant.labels]), variant.labels.get("fields")
        pictures = [frame.get("lines") for frame in frames]
        if not pictures or not all(isinstance(lines, list | tuple) for lines in pictures) or not isinstance(fields, Mapping):
            return ["labels are lines and fields"]
        size = int(variant.columns["width_px"]), int(variant.columns["height_px"])
        for lines in pictures:
            for line in lines:
                faults += _line_problems(line, size)
        if set(fields) != FIELDS or not all(isinstance(value, str) and value for value in fields.values()):
            faults.append(f"fields are {', '.join(sorted(FIELDS))}, each with a text")
        if json.loads(str(variant.columns["fields_json"])) != dict(fields):
            faults.append("the column `fields_json` is not the labels' fields")
        if int(variant.columns["visible_lines"]) != len(pictures[-1]):
            faults.append(f"the column `visible_lines` is {variant.columns['visible_lines']}, not {len(pictures[-1])}")
        return faults

    def contact_sheet(self, rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """Each template in a row with its receipts, every line framed."""
        from pipeline_assets.variants.receipts.contact_sheet import draw

        return draw(rows)


def _outcome(task: Task, parent: Parent) -> Made | UnfitParent:
    from pipeline_assets.variants.receipts import maker

    try:
        shop = shop_of(parent.data)
        first, last = task.recipe.steps
        setting = RECEIPTS[first.name].function(generator(task.seed, "setting"), **dict(first.parameters))
        output = RECEIPTS[last.name].function(**dict(last.parameters))
        make = maker.render_clip if isinstance(setting, Unfolding) else maker.render_picture
        return make(shop, setting, output, task.seed)
    except UnfitParent as unfit:
        return unfit
    except OSError as error:
        return UnfitParent("undecodable", f"can't be read: {error}")


def _line_problems(line: Mapping[str, Any], size: Sequence[int]) -> list[str]:
    text, quad, faults = line.get("text"), line.get("quad", ()), []
    if not text:
        faults.append("a line has no text")
    if len(quad) != 4 or any(not 0 <= c <= edge for at in quad for c, edge in zip(at, size, strict=True)):
        faults.append(f"the quad of {text!r} is not four points within {size[0]} x {size[1]}")
    if not 0 < line.get("visibility", 0) <= 1:
        faults.append(f"the visibility of {text!r} is not in (0, 1]")
    return faults
