"""Texts as a kind of data: UTF-8 in, UTF-8 out, labelled spans follow."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.held import bytes_of, size_of
from pipeline_assets.variants.kinds import Made, Outcome, Parent, Task, Work
from pipeline_assets.variants.operations import Operations
from pipeline_assets.variants.recipes import Recipe, generator
from pipeline_assets.variants.text.operations import TEXT
from pipeline_assets.variants.text.words import Draft, Words, of_labels

MAX_BYTES = 4 << 20
MEDIA_TYPE = "text/plain; charset=utf-8"
ENCODING = "utf-8, lossless"

Steps = list[tuple[Callable[..., None], dict[str, Any]]]


class Texts:
    """Texts of any length up to 4 MiB: titles, captions, reports.

    labels: {"spans": [{"start", "end", "label", "text"}]} in characters, optional; they follow, all else is carried.
    """

    name = "text"
    heeds_labels = True
    operations: Operations = TEXT
    recipes: Mapping[str, Recipe] = {
        "synonyms": Recipe("synonyms"),
        "reordered": Recipe("reorder"),
        "shortened": Recipe("delete"),
        "mistyped": Recipe("typos"),
        "reworded": Recipe("synonyms").then(Recipe("reorder", share=0.1)),
        "careless": Recipe("delete", share=0.1).then(Recipe("typos", share=0.2)),
    }

    def complete(self, recipe: Recipe) -> Recipe:
        """Resolved; there is nothing to choose in how a text is written."""
        return self.operations.resolve(recipe)

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """One by one, in order; a parent is taken apart once for tasks that follow each other."""
        compiled: dict[Recipe, Steps] = {}
        last: Parent | None = None
        words: Words | UnfitParent = UnfitParent("undecodable", "")
        for task, (parent, *_) in work:
            if parent is not last:
                last, words = parent, _words_of(parent)
            if task.recipe not in compiled:
                compiled[task.recipe] = [(TEXT[s.name].function, dict(s.parameters)) for s in task.recipe.steps]
            if isinstance(words, UnfitParent):
                yield task, words
            else:
                yield task, _made(words, compiled[task.recipe], task.seed, parent.labels)

    def problems(self, made: Made) -> list[str]:
        """Spans that are not what the text has there, and a text that is not the content."""
        text = str(made.columns["text"])
        content = bytes_of(made.data).decode()
        found = [] if content in ("", text) else ["the column `text` is not the content"]
        for span in made.labels.get("spans", ()):
            start, end = span["start"], span["end"]
            if not 0 <= start < end <= len(text):
                found.append(f"a span from {start} to {end} is not within {len(text)} characters")
            elif text[start:end] != span["text"]:
                found.append(f"the span {span['text']!r} is {text[start:end]!r} in the text")
        return found

    def contact_sheet(self, shown: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """Each text above its variants, in which new words are coloured and lost ones struck out."""
        from pipeline_assets.variants.text.sheet import contact_sheet

        return contact_sheet(
            [
                (text_of(parent), [(task.recipe.name, str(made.columns["text"])) for task, made in variants])
                for parent, variants in shown
            ]
        )


def text_of(parent: Parent) -> str:
    """A parent's text. Raises UnfitParent if there is none."""
    size = size_of(parent.data)
    if size > MAX_BYTES:
        raise UnfitParent("too_large", f"{size:,} bytes, and a text has {MAX_BYTES:,} at most")
    data = bytes_of(parent.data)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UnfitParent("undecodable", f"not UTF-8: {error.reason} at byte {error.start}") from error
    if not text.strip():
        raise UnfitParent("empty", "the text is empty or blank")
    return text


def _words_of(parent: Parent) -> Words | UnfitParent:
    try:
        return of_labels(text_of(parent), parent.labels)
    except UnfitParent as unfit:
        return unfit
    except OSError as error:
        return UnfitParent("undecodable", f"can't be read: {error}")


def _made(words: Words, steps: Steps, seed: int, labels: Mapping[str, Any]) -> Made | UnfitParent:
    draft = Draft.of(words)
    random = generator(seed)
    for function, parameters in steps:
        function(draft, random, **parameters)
    text, before = draft.text, "".join(words.pieces)
    if text == before:
        return UnfitParent("unchanged", "no word of this text could be changed: the rest is protected or unknown")
    return Made(
        text.encode(),
        MEDIA_TYPE,
        ENCODING,
        labels={**labels, "spans": draft.spans()} if words.spans else labels,
        columns={"text": text, "parent_text": before},
    )
