"""A folder of small files, versioned, changed and got back: Darkroom, DVC and git-lfs by turns, whole processes.

    python -m benchmarks.versions [--files 10000] [--kilobytes 10] [--rounds 3]

Each round has new files, a new repository and a new place in the embedded S3 server, which has the same cores. A version is
kept once it is in the store: DVC's add and push, our pin. Commits to git are not measured. git-lfs pushes to a folder, so
its figures are information only. What is got back is compared with the source, byte for byte. DVC runs in an environment
of its own, at its defaults but for the kind of link where that is said.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.contests import CommandFailed, take_turns
from benchmarks.figures import Figure, Target, add_options, at_least, at_most, finish
from benchmarks.rivals.environments import NotInstallable, python_of
from benchmarks.versioners import BUCKET, Darkroom, Dvc, GitLfs, Versioner, assert_same
from resources.objects import s3
from resources.objects.backends import boto3_client
from resources.servers.embedded import Services
from resources.servers.endpoints import Endpoints

CHANGED = 100
SETTLED_S = 2.5
"""So long after the last write, a file's times tell whether it is the one that was read."""
KEPT, COPIED, LINKED, FETCHED, AGAIN = "kept", "copied", "linked", "fetched", "kept again"
TOLD = {
    KEPT: "version and send",
    COPIED: "check out, warm cache, copies",
    LINKED: "check out, warm cache, hard links",
    FETCHED: "check out, empty cache",
    AGAIN: f"version and send again, {CHANGED} files changed",
}
TARGETS: dict[str, Target] = {KEPT: at_least(5), COPIED: at_least(2), FETCHED: at_least(8)}
"""How many times faster than DVC."""
AGAIN_S = at_most(1)
Seconds = dict[str, float]


def main() -> None:
    """Run on servers of its own, in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--files", type=int, help="how many (10,000; with --quick 300)")
    parser.add_argument("--kilobytes", type=int, default=10)
    parser.add_argument("--rounds", type=int, help="of each contestant (3; with --quick 1)")
    options = parser.parse_args()
    files, rounds = options.files or (300 if options.quick else 10_000), options.rounds or (1 if options.quick else 3)
    contestants, absences = present()
    with tempfile.TemporaryDirectory(prefix="versions-") as name, Services(Path(name) / "home") as endpoints:
        client = boto3_client(endpoints.s3_endpoint, endpoints.access_key, endpoints.secret_key, endpoints.region)
        s3.ensure_bucket(client, BUCKET, versioning=False)
        runners = {who.__name__: runner(who, Path(name), endpoints, files, options.kilobytes) for who in contestants}
        runs = take_turns(runners, rounds)
    sizes = {"files": files, "kilobytes": options.kilobytes, "runs": runs}
    finish(options, "versions", figures(runs, files, options.kilobytes, absences), sizes)


def present() -> tuple[list[type[Versioner]], dict[str, str]]:
    """Who can take part; and of whom can't, why."""
    tools, absences = [Darkroom], {}
    try:
        python_of("dvc")
        tools.append(Dvc)
    except NotInstallable as error:
        absences[Dvc.__name__] = f"can't be installed: {error}"
    if shutil.which("git-lfs"):
        tools.append(GitLfs)
    else:
        absences[GitLfs.__name__] = "git-lfs is not installed"
    return tools, absences


def runner(who: type[Versioner], folder: Path, endpoints: Endpoints, files: int, kilobytes: int) -> Callable[[], Seconds]:
    """One round in a new folder, as a function. What fails is left out of its result, and said."""
    numbers = iter(range(1_000_000))

    def run() -> Seconds:
        number = next(numbers)
        work = folder / f"{who.__name__.lower()}-{number}"
        work.mkdir()
        source = folder / "source"
        write(source, files, kilobytes, seed=number)
        tool = who(work, endpoints)
        print(f"{who.__name__} ...", end=" ", flush=True)
        seconds: Seconds = {}
        try:
            play(tool, source, seconds)
        except CommandFailed as error:
            print(f"\n{who.__name__}: {error}", file=sys.stderr)
        finally:
            shutil.rmtree(work)
            shutil.rmtree(source)
        print(", ".join(f"{step} {step_s:.1f} s" for step, step_s in seconds.items()), flush=True)
        return seconds

    return run


def play(tool: Versioner, source: Path, seconds: Seconds) -> None:
    """Everything that is measured of one tool, in an order in which each step leaves what the next one needs."""
    tool.begin()
    shutil.copytree(source, tool.data)
    time.sleep(SETTLED_S)
    seconds[KEPT] = tool.keep()
    seconds[FETCHED], place = tool.fetch()
    assert_same(source, place)
    seconds[COPIED], place = tool.check_out(is_linked=False)
    assert_same(source, place)
    if not isinstance(tool, GitLfs):
        seconds[LINKED], place = tool.check_out(is_linked=True)
        assert_same(source, place)
    change(source, tool.data)
    time.sleep(SETTLED_S)
    seconds[AGAIN] = tool.keep()


def write(folder: Path, files: int, kilobytes: int, seed: int) -> None:
    """Files of noise in folders of a hundred."""
    noise = np.random.default_rng(seed)
    for number in range(files):
        path = folder / f"{number // 100:04d}" / f"{number:06d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise.bytes(kilobytes * 1000))


def change(source: Path, data: Path) -> None:
    """Write other bytes into files, spread over all; a link or a read-only file gives way to a new one."""
    paths = sorted(path.relative_to(source) for path in source.rglob("*.bin"))
    for path in paths[:: max(1, len(paths) // CHANGED)][:CHANGED]:
        changed = (source / path).read_bytes()[::-1]
        (data / path).unlink()
        (data / path).write_bytes(changed)


def figures(runs: dict[str, list[Seconds]], files: int, kilobytes: int, absences: dict[str, str]) -> list[Figure]:
    """Ratios with their targets first, then the seconds of the median round."""
    medians = {
        name: {step: statistics.median(values) for step in TOLD if (values := [run[step] for run in runs_of if step in run])}
        for name, runs_of in runs.items()
    }
    darkroom, dvc = medians.get("Darkroom", {}), medians.get("Dvc", {})
    absence = absences.get("Dvc", "one of the two failed: see the run's output")
    report = []
    for step in (KEPT, FETCHED, COPIED, LINKED):
        ratio = dvc[step] / darkroom[step] if step in darkroom and step in dvc else None
        note = absence if ratio is None else ""
        report.append(Figure(f"Darkroom faster than DVC: {TOLD[step]}", ratio, "x", TARGETS.get(step), note))
    second_pin = darkroom.get(AGAIN)
    report.append(
        Figure(f"Darkroom: {TOLD[AGAIN]}", second_pin, "s", AGAIN_S, "" if second_pin else "it failed: see the run's output")
    )
    size = f"{files:,} files of {kilobytes} KB"
    for name, steps in medians.items():
        report += [Figure(f"{name}: {TOLD[step]}", step_s, "s", note=size) for step, step_s in steps.items()]
    return report


if __name__ == "__main__":
    main()
