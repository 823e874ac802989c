"""Receipts as a kind of data: a shop's template in, a picture or a clip of one of its receipts out.

mitsuba and scipy come in with the first variant: definitions load without them.
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

    labels: {"lines": [{"text", "quad": [[x, y] * 4], "visibility"}], "fields": {company, date, address, total}}; a quad goes
    clockwise from the text's top left, in pixels; visibility is the share of the line's paper that is seen. A clip has
    {"frames": [{"lines"}], "fields"}, one of each picture.
    """

    name = "receipts"
    heeds_labels = False
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
        "unfolding": Recipe("unfold"),
    }

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe resolved: one rendering, then an encoding, JPEG of quality 92 or MP4 unless said. Raises BadRecipe."""
        first, *others = (step.name for step in recipe.steps)
        usual = ENCODINGS.get(first, ())
        if not others and usual:
            return self.operations.resolve(recipe.then(Recipe(usual[0])))
        resolved = self.operations.resolve(recipe)
        if len(others) != 1 or others[0] not in usual:
            raise BadRecipe(f"a receipt is rendered once and then written as what it is, not {recipe.name}")
        return resolved

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """One by one, in order; a rendering uses all cores."""
        for task, (parent, *_) in work:
            yield task, _outcome(task, parent)

    def problems(self, made: Made) -> list[str]:
        """Quads outside the picture, visibilities that are no share, fields that the columns do not have."""
        found: list[str] = []
        frames, fields = made.labels.get("frames", [made.labels]), made.labels.get("fields")
        pictures = [frame.get("lines") for frame in frames]
        if not pictures or not all(isinstance(lines, list | tuple) for lines in pictures) or not isinstance(fields, Mapping):
            return ["labels are lines and fields"]
        size = int(made.columns["width_px"]), int(made.columns["height_px"])
        for lines in pictures:
            for line in lines:
                found += _line_problems(line, size)
        if set(fields) != FIELDS or not all(isinstance(value, str) and value for value in fields.values()):
            found.append(f"fields are {', '.join(sorted(FIELDS))}, each with a text")
        if json.loads(str(made.columns["fields_json"])) != dict(fields):
            found.append("the column `fields_json` is not the labels' fields")
        if int(made.columns["visible_lines"]) != len(pictures[-1]):
            found.append(f"the column `visible_lines` is {made.columns['visible_lines']}, not {len(pictures[-1])}")
        return found

    def contact_sheet(self, shown: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """Each template in a row with its receipts, every line framed."""
        from pipeline_assets.variants.receipts.contact_sheet import drawn

        return drawn(shown)


def _outcome(task: Task, parent: Parent) -> Made | UnfitParent:
    from pipeline_assets.variants.receipts import maker

    try:
        shop = shop_of(parent.data)
        first, last = task.recipe.steps
        setting = RECEIPTS[first.name].function(generator(task.seed, "setting"), **dict(first.parameters))
        written = RECEIPTS[last.name].function(**dict(last.parameters))
        make = maker.filmed if isinstance(setting, Unfolding) else maker.made
        return make(shop, setting, written, task.seed)
    except UnfitParent as unfit:
        return unfit
    except OSError as error:
        return UnfitParent("undecodable", f"can't be read: {error}")


def _line_problems(line: Mapping[str, Any], size: Sequence[int]) -> list[str]:
    text, quad, found = line.get("text"), line.get("quad", ()), []
    if not text:
        found.append("a line has no text")
    if len(quad) != 4 or any(not 0 <= c <= edge for at in quad for c, edge in zip(at, size, strict=True)):
        found.append(f"the quad of {text!r} is not four points within {size[0]} x {size[1]}")
    if not 0 < line.get("visibility", 0) <= 1:
        found.append(f"the visibility of {text!r} is not in (0, 1]")
    return found
