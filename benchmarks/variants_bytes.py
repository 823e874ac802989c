"""Are variants the same bytes on other processors? What `darkroom variants verify` rests on.

    python -m benchmarks.variants_bytes

Every ready-made recipe of every kind is carried out on a few items of the sample, and the bytes are hashed: on this
processor, on the same with what its libraries choose by vector instructions withheld (each in a process of its own), and
beside the hashes that are kept of processors that had this benchmark before, with the same libraries and versions of
operations. A kind of processor is its vector instructions.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import ROOT, Figure, add_options, at_least, finish, results_folder
from benchmarks.machine import machine
from pipeline_assets.errors import UnfitParent
from pipeline_assets.variants.kinds import Kind, Parent, Task, Work

WITHHELD = {
    "MKL, numpy, OpenBLAS, libc and libjpeg": {
        "MKL_CBWR": "COMPATIBLE",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
        "OPENBLAS_CORETYPE": "Nehalem",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2_Usable,-FMA_Usable,-AVX2,-FMA,-AVX512F",
        "JSIMD_FORCESSE2": "1",
    },
    "torch, of AVX-512": {"ATEN_CPU_CAPABILITY": "avx2"},
    "torch, of AVX2": {"ATEN_CPU_CAPABILITY": "default"},
}
"""From which libraries instructions are withheld, and how."""
UNLIKE = "torch, of AVX2"
"""Without fused multiply-add some warps and blurs differ in the last bit: told, and no target."""

LIBRARIES = ROOT / "constraints.txt"

Digests = dict[str, str]
"""By kind and recipe, as resolved: a hash over the bytes of all its variants."""


def main() -> None:
    """Make all, under each condition, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        print(json.dumps(digests(is_quick=options.quick)))
        return
    digests_here = digests_under({}, options.quick)
    figures = []
    for whose, setting in WITHHELD.items():
        alike, note = compared(digests_here, digests_under(setting, options.quick))
        target = None if whose == UNLIKE else at_least(1)
        figures.append(
            Figure(f"recipes of the same bytes, vector instructions withheld from {whose}", alike, "", target, note)
        )
    machine_facts = machine()
    kind = " ".join(machine_facts["flags"]) or "none of those told apart"
    stored = stored_digests(options.results or results_folder(options.quick))
    for machine_name, digests_there in sorted(stored.items()):
        if machine_name != kind:
            alike, note = compared(digests_here, digests_there)
            name = f"recipes of the same bytes: {kind}, beside {machine_name}"
            figures.append(Figure(name, alike, "", at_least(1), note))
    if not stored.keys() - {kind}:
        figures.append(Figure("recipes of the same bytes on another processor", None, "", None, f"so far only on: {kind}"))
    finish(options, "variants_bytes", figures, {"libraries": libraries(), "digests": stored | {kind: digests_here}})


def stored_digests(folder: Path) -> dict[str, Digests]:
    """What earlier runs with the same libraries found, by kind of processor."""
    path = folder / "variants_bytes.json"
    details = json.loads(path.read_text())["details"] if path.exists() else {}
    return dict(details["digests"]) if details.get("libraries") == libraries() else {}


def libraries() -> str:
    """A hash over the versions of all libraries: others may give other bytes, whatever the processor."""
    return hashlib.sha256(LIBRARIES.read_bytes()).hexdigest()[:16]


def digests_under(setting: Mapping[str, str], is_quick: bool) -> Digests:
    """The digests under an environment, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.variants_bytes", "--make", *(["--quick"] if is_quick else [])]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **setting})
    return dict(json.loads(process.stdout.splitlines()[-1]))


def compared(first: Digests, second: Digests) -> tuple[float, str]:
    """The share of recipes that are the same, of those in both, and which are not. Parents that differ are told as such."""
    common = sorted(first.keys() & second.keys())
    differing = [name for name in common if first[name] != second[name]]
    return 1 - len(differing) / len(common), ", ".join(differing) or f"{len(common)} recipes"


def digests(*, is_quick: bool) -> Digests:
    """A hash over each recipe's bytes. Also of the parents, by kind: where those differ, so does everything."""
    result: Digests = {}
    for kind, contents, labels in items(is_quick):
        hashes: dict[str, Any] = {name: hashlib.sha256() for name in sorted(kind.recipes)}
        tasks = list(work(kind, contents, labels))
        name_of = {task.variant_id: name for name, (task, _) in tasks}
        bytes_of = {}
        for task, outcome in kind.make(iter([item for _, item in tasks])):
            if isinstance(outcome, UnfitParent):
                bytes_of[task.variant_id] = str(outcome).encode()
            else:
                bytes_of[task.variant_id] = outcome.data if isinstance(outcome.data, bytes) else outcome.data.read_bytes()
        for identity, name in name_of.items():
            hashes[name].update(bytes_of[identity])
        result[f"{kind.name}: parents"] = hashlib.sha256(b"".join(contents)).hexdigest()[:16]
        for name, item in hashes.items():
            resolved = kind.complete(kind.recipes[name]).json
            result[f"{kind.name}: {name} {hashlib.sha256(resolved.encode()).hexdigest()[:4]}"] = item.hexdigest()[:16]
    return result


def work(kind: Kind, contents: Sequence[bytes], labels: Mapping[str, Any]) -> Iterator[tuple[str, Work]]:
    """Every recipe on every item, by the recipe's name; a second parent is the item before."""
    parents = [Parent(hashlib.sha256(data).hexdigest(), data, labels) for data in contents]
    for number, parent in enumerate(parents):
        for name in sorted(kind.recipes):
            recipe = kind.complete(kind.recipes[name])
            task_parents = (parent, parents[number - 1]) if kind.operations.parents(recipe) == 2 else (parent,)
            yield name, (Task.of([parent_used.sha256 for parent_used in task_parents], recipe, 0), task_parents)


def items(is_quick: bool) -> Iterator[tuple[Kind, list[bytes], dict[str, Any]]]:
    """A few items of each kind, with their labels. Receipts take most of the time: one template."""
    from pipeline_assets.sample.photos import sample_photos
    from pipeline_assets.sample.recordings import clips, recordings
    from pipeline_assets.variants import photos, receipts, speech, tables, text, video

    limit = 2 if is_quick else 24
    yield photos.KIND, [file.data for file in sample_photos(60) if file.name.endswith(".jpg")][:limit], {}
    yield speech.KIND, [file.data for file in recordings()], {}
    yield video.KIND, [file.data for file in clips()][: 2 if is_quick else 3], {}
    yield text.KIND, [b"A red bridge over the old river", b"Two dogs are running on the beach near Naples"], {}
    yield tables.KIND, [table()], {"keys": ["user_id"]}
    if not is_quick:
        yield receipts.KIND, [receipts.TEMPLATES[min(receipts.TEMPLATES)]], {}


def table() -> bytes:
    """Numbers that go together, and a category."""
    import numpy as np
    import polars as pl

    from pipeline_assets.variants.tables import frames

    random = np.random.default_rng(3)
    ages, places = random.integers(18, 80, 400), random.choice(["a", "b"], 400)
    frame = pl.DataFrame({"user_id": range(400), "age": ages, "place": places})
    return frames.write_table(frame.with_columns(logins=pl.col("age") // 7 + pl.Series(random.integers(0, 5, 400))))


if __name__ == "__main__":
    main()
