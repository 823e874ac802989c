"""Photos as a kind of data. torch is imported with the first variant: definitions load without them."""

from collections.abc import Iterable, Iterator, Mapping

from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.operations import Operations
from pipeline_assets.variants.photos import marks, plans
from pipeline_assets.variants.photos.catalogue import PHOTOS
from pipeline_assets.variants.photos.ready_made import RECIPES
from pipeline_assets.variants.recipes import Recipe


class Photos:
    """Variants of photos, with boxes, masks and points as labels.

    device: where pixels are computed. Another device may round differently and give other bytes. threads: one per
    core by default; their number does not change the bytes.
    """

    name = "photos"
    heeds_labels = False
    labels_version = 2
    operations: Operations = PHOTOS
    recipes: Mapping[str, Recipe] = RECIPES

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        self.device = device
        self.threads = threads

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe resolved, with a fit first and an encoding last. Raises BadRecipe."""
        return plans.complete(recipe)

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """Yield each task with its variant or its error; neighbours with the same first parent decode it once."""
        from pipeline_assets.variants.photos.maker import make

        return make(work, device=self.device, threads=self.threads)

    def problems(self, variant: Made) -> list[str]:
        """The errors in a variant's boxes, masks and points, in sentences."""
        return marks.problems(variant.labels, variant.columns["width_px"], variant.columns["height_px"])

    def contact_sheet(self, rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """A PNG: each parent in a row with its variants, with boxes and the names of their recipes."""
        from pipeline_assets.variants.photos.contact_sheet import draw

        return draw(rows)
