"""How fast text variants are made, in one process, and how many texts each recipe can do something to.

    python -m benchmarks.variants_text [--titles 100000] [--rounds 3]

Titles are the simulator's. Parsing, seeds, variants and their bytes are timed; the engine, which fetches and keeps them, is
not. nlpaug does three of the operations on the same titles; it protects no names or numbers and follows no labels.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import numpy as np

from benchmarks.contests import take_turns
from benchmarks.figures import ROOT, Figure, add_options, at_least, at_most, finish
from benchmarks.rivals.environments import NotInstallable, python_of
from pipeline_assets.sample.posts import titles
from pipeline_assets.variants.kinds import Made, Parent, Task, Work
from pipeline_assets.variants.recipes import Recipe
from pipeline_assets.variants.text import KIND

TITLES, ROUNDS = 100_000, 3
LEAST_TITLES_A_SECOND, MOST_LOAD_S = 20_000, 0.3
ALIKE = {name: KIND.complete(Recipe(name, share=0.2)) for name in ("typos", "reorder", "delete")}
"""Recipes that ask for what the rival is asked for."""


def work_of(texts: list[str], recipe: Recipe) -> list[Work]:
    """A task for each text."""
    work: list[Work] = []
    for text in texts:
        data = text.encode()
        parent = Parent(sha256(data).hexdigest(), data)
        work.append((Task.of((parent.sha256,), recipe, 0), (parent,)))
    return work


def seconds(work: list[Work]) -> tuple[float, float]:
    """Of making them all, and the share that was made."""
    began = time.perf_counter()
    made_count = sum(isinstance(outcome, Made) for _, outcome in KIND.make(work))
    return time.perf_counter() - began, made_count / len(work)


def load_s() -> float:
    """What the synonyms cost a process once, beyond the imports that every process has."""
    code = (
        "import time, pipeline_assets.variants.text.lexicon as found; began = time.perf_counter(); found.lexicon();"
        " print(time.perf_counter() - began)"
    )
    return float(
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    )


def theirs(texts: list[str]) -> tuple[dict[str, float], str]:
    """The rival's seconds by operation, or why there are none."""
    try:
        python = python_of("nlpaug")
    except NotInstallable as error:
        return {}, f"nlpaug can't be installed: {error}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "titles.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        command = [str(python), "-m", "benchmarks.rivals.text_nlpaug", str(path)]
        process = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if process.returncode:
        return {}, f"nlpaug failed: {process.stderr.strip().splitlines()[-1][:200]}"
    result: dict[str, float] = json.loads(process.stdout)
    return result, ""


def main() -> None:
    """Measure, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--titles", type=int, help=f"how many ({TITLES:,}; with --quick 5,000)")
    parser.add_argument("--rounds", type=int, help=f"of each recipe ({ROUNDS}; with --quick 1)")
    options = parser.parse_args()
    texts = titles(options.titles or (5000 if options.quick else TITLES), np.random.default_rng(0))
    works = {name: work_of(texts, KIND.complete(recipe)) for name, recipe in KIND.recipes.items()}
    works |= {f"{name}, alike": work_of(texts, recipe) for name, recipe in ALIKE.items()}
    for work in works.values():
        seconds(work[:100])
    runs = take_turns(
        {name: lambda work=work: seconds(work) for name, work in works.items()},  # type: ignore[misc]
        options.rounds or (1 if options.quick else ROUNDS),
    )
    rival, absence = theirs(texts)
    figures = [
        Figure(
            f"{name}: titles a second",
            len(texts) / statistics.median(s for s, _ in runs[name]),
            "1/s",
            at_least(LEAST_TITLES_A_SECOND),
            f"{runs[name][0][1]:.0%} of titles could be changed",
        )
        for name in KIND.recipes
    ]
    for name in ALIKE:
        darkroom_s = statistics.median(s for s, _ in runs[f"{name}, alike"])
        ratio = rival[name] / darkroom_s if name in rival else None
        note = absence or f"{len(texts) / rival[name]:,.0f} titles a second by nlpaug"
        figures.append(Figure(f"{name}: faster than nlpaug", ratio, "x", note=note))
    figures.append(Figure("synonyms loaded, once a process", load_s(), "s", at_most(MOST_LOAD_S)))
    finish(options, "variants_text", figures, {"titles": len(texts), "runs": runs, "nlpaug_s": rival})


if __name__ == "__main__":
    main()
