"""Photos in coarse classes, and digits, as embeddings of items and of light variants of them.

The photos have one picture for each of 800 ImageNet classes, so their classes here are groups of these by WordNet's
hypernyms. Embeddings are made once, and kept under `build/learning/`.
"""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.figures import ROOT
from benchmarks.photos import photos
from benchmarks.rivals.environments import python_of
from pipeline_assets.errors import UnfitParent
from pipeline_assets.exploration.learning.pseudo import Items

WORDNET = Path("/usr/share/wordnet/data.noun")
"""Of Debian's package wordnet-base: WordNet 3.0, whose offsets are the numbers of ImageNet's classes."""
GROUPS = {
    "dog": ("02084071",),
    "bird": ("01503061",),
    "reptile": ("01661091",),
    "other mammal": ("01861778",),
    "invertebrate": ("01905661",),
    "food": ("00021265", "07555863", "07705711", "13134947"),
    "clothing": ("03051540",),
    "vehicle": ("04524313",),
    "container": ("03094503",),
    "furnishing": ("03405265",),
    "music": ("03800933",),
    "structure": ("04341686",),
    "equipment": ("03294048",),
    "device": ("03183080",),
}
"""Classes by the WordNet offsets below which they lie; a photo is of the first that has it, or left out."""
RECIPES = ("crop_and_flip", "another_view")
Labels = npt.NDArray[np.int64]


def groups_of(wordnet_ids: list[str]) -> list[int | None]:
    """The number of the group of each id, as `n02084071`."""
    if not WORDNET.exists():
        raise FileNotFoundError("classes of photos come from WordNet: install Debian's package wordnet-base")
    above = dict(_hypernyms(WORDNET.read_text()))
    return [_group(_ancestors(name[1:], above)) for name in wordnet_ids]


def photo_items(folder: Path, limit: int) -> tuple[Items, Labels]:
    """Embeddings of photos of known group, and of two light variants of each, by the project's classifier."""
    chosen = [(name, data) for name, data in photos(folder, limit)]
    found = groups_of([name[:9] for name, _ in chosen])
    contents = {hashlib.sha256(data).hexdigest(): data for _, data in chosen}
    embeddings = _cached(contents)
    keep = np.flatnonzero([group is not None for group in found])
    items = Items(embeddings[0], list(embeddings[1:])).rows(keep)
    return items, np.array([group for group in found if group is not None], np.int64)


def digit_items() -> tuple[Items, Labels]:
    """Pixels of scikit-learn's digits, and the same a pixel to a side."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npz"
        subprocess.run([str(python_of("digits")), "-m", "benchmarks.rivals.digits_data", str(path)], cwd=ROOT, check=True)
        found = np.load(path)
        pixels, labels = found["pixels"], found["digits"].astype(np.int64)
    pictures = pixels.reshape(-1, 8, 8)
    shifted = [np.pad(pictures, ((0, 0), (0, 0), (1, 1)))[:, :, at : at + 8].reshape(-1, 64) for at in (0, 2)]
    return Items(pixels, shifted), labels


def _cached(contents: dict[str, bytes]) -> npt.NDArray[np.float32]:
    """(1 + variants, photos, E)."""
    from pipeline_assets.classify.models import load_classifier
    from pipeline_assets.classify.pipeline import classify_photos
    from pipeline_assets.variants.kinds import Parent, Task
    from pipeline_assets.variants.photos import KIND

    classifier = load_classifier()
    recipes = [KIND.complete(KIND.recipes[name]) for name in RECIPES]
    tasks = {
        (sha256, number): Task.of((sha256,), recipe, run_seed=0)
        for sha256 in contents
        for number, recipe in enumerate(recipes)
    }
    identity = json.dumps([classifier.model_id, list(contents), [task.variant_id for task in tasks.values()]])
    path = ROOT / "build" / "learning" / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npy"
    if path.exists():
        return np.asarray(np.load(path))

    def pictures() -> Iterator[tuple[str, bytes]]:
        yield from contents.items()
        for task, outcome in KIND.make((task, (Parent(key[0], contents[key[0]]),)) for key, task in tasks.items()):
            if not isinstance(outcome, UnfitParent):
                yield task.variant_id, bytes(outcome.data)

    found = {
        row["sha256"]: row["embedding"]
        for batch in classify_photos(pictures(), classifier=classifier)
        for row in batch.classes.iter_rows(named=True)
    }
    views = [[found[sha256] for sha256 in contents]]
    # A photo that no variant can be made of is its own.
    for number in range(len(recipes)):
        views.append([found.get(tasks[sha256, number].variant_id, found[sha256]) for sha256 in contents])
    embeddings = np.array(views, np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, embeddings)
    return embeddings


def _hypernyms(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each synset's offset with those of its hypernyms, of a file of the format wndb(5)."""
    for line in text.splitlines():
        if not line.startswith("  "):
            fields = line.split(" | ")[0].split()
            at = 4 + 2 * int(fields[3], 16)
            pointers = fields[at + 1 : at + 1 + 4 * int(fields[at])]
            yield fields[0], [pointers[n + 1] for n in range(0, len(pointers), 4) if pointers[n] in ("@", "@i")]


def _ancestors(offset: str, above: dict[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    to_visit = [offset]
    while to_visit:
        current = to_visit.pop()
        if current not in seen:
            seen.add(current)
            to_visit += above.get(current, [])
    return seen


def _group(ancestors: set[str]) -> int | None:
    return next((number for number, roots in enumerate(GROUPS.values()) if ancestors & set(roots)), None)
