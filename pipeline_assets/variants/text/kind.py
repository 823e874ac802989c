"""Texts as a kind of data: UTF-8 with labelled spans, which move with the text."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pipeline_assets.errors import UnfitParent
from pipeline_assets.runtime.blobs import bytes_of, size_of
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

    labels: {"spans": [{"start", "end", "label", "text"}]} in characters, optional; spans move with the text.
    """

    name = "text"
    heeds_labels = True
    labels_version = 1
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
        """The recipe resolved; texts have no choice of encoding."""
        return self.operations.resolve(recipe)

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        """Yield variants one by one, in order; consecutive tasks with the same parent parse it once."""
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
                yield task, _variant(words, compiled[task.recipe], task.seed, parent.labels)

    def problems(self, variant: Made) -> list[str]:
        """Spans that differ from the text at their place, and a column `text` that differs from the content."""
        text = str(variant.columns["text"])
        content = bytes_of(variant.data).decode()
        faults = [] if content in ("", text) else ["the column `text` is not the content"]
        for span in variant.labels.get("spans", ()):
            start, end = span["start"], span["end"]
            if not 0 <= start < end <= len(text):
                faults.append(f"a span from {start} to {end} is not within {len(text)} characters")
            elif text[start:end] != span["text"]:
                faults.append(f"the span {span['text']!r} is {text[start:end]!r} in the text")
        return faults

    def contact_sheet(self, rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
        """Each text above its variants, with inserted words coloured and deleted ones struck out."""
        from pipeline_assets.variants.text.sheet import contact_sheet

        return contact_sheet(
            [
                (text_of(parent), [(task.recipe.name, str(made.columns["text"])) for task, made in variants])
                for parent, variants in rows
            ]
        )


def text_of(parent: Parent) -> str:
    """A parent's text. Raises UnfitParent if the bytes are not a text within the limits."""
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


def _variant(words: Words, steps: Steps, seed: int, labels: Mapping[str, Any]) -> Made | UnfitParent:
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
