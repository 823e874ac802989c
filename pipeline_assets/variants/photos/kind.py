"""Photos as a kind of data. torch and kornia come in with the first variant: definitions load without them."""

from collections.abc import Iterable, Iterator, Mapping

from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.operations import Operations
from pipeline_assets.variants.photos import boxes, plans
from pipeline_assets.variants.photos.catalogue import PHOTOS
from pipeline_assets.variants.photos.ready_made import RECIPES
from pipeline_assets.variants.recipes import Recipe


class Photos:
    """Variants of photos, with boxes as labels.

    device: where pixels are changed. The bytes of a variant belong to a device: another may round otherwise. threads: one a
    core unless said; they change no bytes.
    """

    name = "photos"
    heeds_labels = False
    operations: Operations = PHOTOS
    recipes: Mapping[str, Recipe] = RECIPES

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        self.device = device
        self.threads = threads

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe resolved, with a fit first and an encoding last. Raises BadRecipe."""
        return plans.complete(recipe)

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """Each task with its variant or why it has none; neighbours with the same first parent decode it once."""
        from pipeline_assets.variants.photos.maker import make

        return make(work, device=self.device, threads=self.threads)

    def problems(self, made: Made) -> list[str]:
        """What is wrong with a variant's boxes, in sentences."""
        found = made.labels.get("boxes", [])
        return boxes.problems(found, made.columns["width_px"], made.columns["height_px"])

    def contact_sheet(self, shown: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """A PNG: each parent in a row with its variants, boxes drawn, each under its recipe's name."""
        from pipeline_assets.variants.photos.contact_sheet import drawn

        return drawn(shown)
