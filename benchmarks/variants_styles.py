"""Do variants teach something? A head that tells a photo's look, trained on film-look variants alone.

    python -m benchmarks.variants_styles [--photos FOLDER] [--limit 800] [--seeds 5] [--write]

Every photo is cut, perhaps mirrored, and given each of the six looks or none, with strengths drawn at random; the label is
the recipe. For each seed the head is trained on the variants of other seven tenths of the photos, and tested on those of
the rest. Its inputs are what `photo_classes` and `photo_styles` have anyway: embedding and
measured styles; beside it, the same regression on either alone, and chance.

--write: train on all photos and keep the head, with these accuracies, where `photo_styles` reads it.
"""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.figures import Figure, add_options, finish, interval
from benchmarks.photos import photos
from pipeline_assets.classify import looks
from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.kinds import Parent, Task, Work
from pipeline_assets.variants.photos import KIND
from pipeline_assets.variants.photos.ready_made import LOOKS
from pipeline_assets.variants.recipes import Recipe, generator

NO_LOOK = "natural"
NAMES = (NO_LOOK, *LOOKS)
TRAINED_ON = 0.7
INPUTS = ("both", "embedding", "measures")


def main() -> None:
    """Make, embed, train, test; report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; without it, crops of the sample's photos")
    parser.add_argument("--limit", type=int, help="photos (800; with --quick 40)")
    parser.add_argument("--seeds", type=int, help="of splits and training (5; with --quick 2)")
    parser.add_argument("--write", action="store_true", help="keep a head trained on all photos in the project")
    options = parser.parse_args()
    limit, seeds = options.limit or (40 if options.quick else 800), options.seeds or (2 if options.quick else 5)
    parents = [Parent(hashlib.sha256(data).hexdigest(), data) for _, data in photos(options.photos, limit)]
    embeddings = embedded(parents)
    runs = {inputs: [tested(embeddings, inputs, seed) for seed in range(seeds)] for inputs in INPUTS}
    accuracy = {name: interval([run[name] for run in runs["both"]]) for name in NAMES}
    if options.write:
        write(embeddings, accuracy)
    finish(options, "variants_styles", figures(runs), {"photos": limit, "seeds": seeds, "runs": runs})


def work(parents: list[Parent]) -> Iterator[Work]:
    """Each photo with each look, and with none."""
    view = Recipe("crop", area=(0.6, 1.0)).then(Recipe("flip", chance=0.5))
    for parent in parents:
        for name in NAMES:
            recipe = KIND.complete(view if name == NO_LOOK else view.then(Recipe(name)))
            yield Task.of((parent.sha256,), recipe, run_seed=0), (parent,)


def embedded(parents: list[Parent]) -> dict[str, Any]:
    """Variants as the pipeline sees them: a head's inputs, labels, and whose they are."""
    from pipeline_assets.classify.models import load_classifier
    from pipeline_assets.classify.pipeline import classify_photos
    from pipeline_assets.classify.styles import CLASSIFIER as STYLES

    sources: dict[str, tuple[int, str]] = {}

    def variants() -> Iterator[tuple[str, bytes]]:
        for task, outcome in KIND.make(work(parents)):
            if not isinstance(outcome, UnfitParent):
                assert isinstance(outcome.data, bytes)
                name = next((step.name for step in task.recipe.steps if step.name in LOOKS), NO_LOOK)
                sources[task.variant_id] = NAMES.index(name), task.parents[0]
                yield task.variant_id, outcome.data

    classifier = load_classifier()
    batches = classify_photos(variants(), classifier=classifier, further=[STYLES])
    rows = pl.concat(batch.classes.join(batch.further[STYLES.kind], on="sha256", maintain_order="left") for batch in batches)
    labels, whose = zip(*(sources[key] for key in rows["sha256"]), strict=True)
    inputs, width = looks.inputs_of(rows), len(rows["embedding"][0])
    return {
        "both": inputs,
        "embedding": inputs[:, :width],
        "measures": inputs[:, width:],
        "labels": np.array(labels, dtype=np.int64),
        "whose": np.array(whose),
        "classifier_id": classifier.model_id,
    }


def tested(embeddings: dict[str, Any], inputs: str, seed: int) -> dict[str, float]:
    """Accuracy per look and of all on variants of photos that were held out."""
    from pipeline_assets.classify.look_training import DECAY, fit_head

    everyone = np.unique(embeddings["whose"])
    trained_on = generator(seed, "split").choice(everyone, round(TRAINED_ON * len(everyone)), replace=False)
    is_train = np.isin(embeddings["whose"], trained_on)
    x, y = embeddings[inputs], embeddings["labels"]
    decay = 1e-4 if inputs == "measures" else DECAY  # a few inputs don't overfit
    weights, bias = fit_head(x[is_train], y[is_train], len(NAMES), seed, decay)
    is_right = (x[~is_train] @ weights + bias).argmax(1) == y[~is_train]
    per_look = {name: float(is_right[y[~is_train] == index].mean()) for index, name in enumerate(NAMES)}
    return {**per_look, "all": float(is_right.mean())}


def write(embeddings: dict[str, Any], accuracy: dict[str, tuple[float, float]]) -> None:
    """Train on all photos, and keep the head."""
    from pipeline_assets.classify.look_training import fit_head

    weights, bias = fit_head(embeddings["both"], embeddings["labels"], len(NAMES), seed=0)
    looks.save(looks.Head(weights, bias, NAMES, embeddings["classifier_id"], accuracy))


def figures(runs: dict[str, list[dict[str, float]]]) -> list[Figure]:
    """All looks together first, with what they are held against, then each."""
    middle = {side: {name: interval([run[name] for run in runs[side]]) for name in runs[side][0]} for side in runs}

    def figure(title: str, side: str, name: str, note: str = "") -> Figure:
        value, half = middle[side][name]
        return Figure(title, value, "", note=f"95% interval +-{half:.3f}{note}")

    return [
        figure("accuracy on held-out photos", "both", "all", f"; chance is {1 / len(NAMES):.3f}"),
        figure("from the embedding alone", "embedding", "all"),
        figure("from measured styles alone", "measures", "all"),
        *(figure(name, "both", name) for name in NAMES),
    ]


if __name__ == "__main__":
    main()
