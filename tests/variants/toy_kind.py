"""The least kind of data: words whose letters are turned. What the engine does is tested with it, without a heavy library."""

from collections.abc import Iterable, Iterator

from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.operations import Operations
from pipeline_assets.variants.recipes import Recipe, generator


class Words:
    name = "words"
    operations = Operations("words")
    heeds_labels = False
    labels_version = 1
    recipes = {"turned": Recipe("turn"), "shuffled": Recipe("shuffle"), "joined": Recipe("join")}  # noqa: RUF012

    def __init__(self) -> None:
        self.made: list[str] = []
        """What was asked of it, for tests of what is not made twice."""

    def complete(self, recipe: Recipe) -> Recipe:
        return self.operations.resolve(recipe)

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        for task, parents in work:
            self.made.append(task.variant_id)
            try:
                yield task, self._one(task, parents)
            except UnfitParent as unfit:
                yield task, unfit

    def _one(self, task: Task, parents: tuple[Parent, ...]) -> Made:
        if any(parent.labels.get("letter") == "wrong" for parent in parents):
            raise UnfitParent("bad_labels", "wrong is no letter")
        words = [parent.data.decode() if isinstance(parent.data, bytes) else "" for parent in parents]
        if not all(word.isalpha() for word in words):
            raise UnfitParent("undecodable", f"{words} are not words")
        (step,) = task.recipe.steps
        text = self.operations[step.name].function(words, generator(task.seed), **dict(step.parameters))
        labels = {"letter": text[0]} if any(parent.labels for parent in parents) else {}
        return Made(
            text.encode(),
            "text/plain",
            "utf-8, lossless",
            labels,
            {"length": len(text)},
            {"mask_sha256": b"m" + text.encode()},
        )

    def problems(self, variant: Made) -> list[str]:
        return ["the letter is no letter"] if variant.labels.get("letter") == "x" else []

    def contact_sheet(self, rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        variants = [made for _, variants in rows for _, made in variants]
        return b"\x89PNG" + b"".join(made.data for made in variants if isinstance(made.data, bytes))


@Words.operations.operation()
def turn(words: list[str], random: object) -> str:
    return words[0][::-1]


@Words.operations.operation()
def shuffle(words: list[str], random: object, *, times: int = 1) -> str:
    return "".join(random.permutation(list(words[0])))  # type: ignore[attr-defined]


@Words.operations.operation(parents=2)
def join(words: list[str], random: object) -> str:
    return "".join(words)
