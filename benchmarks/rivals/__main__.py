"""A thousand photos from S3 to a table of their classes, each contestant as a whole process, by turns.

    python -m benchmarks.rivals [--photos FOLDER] [--limit 1000] [--repeats 3] [--only NAME ...]

All read the same objects of the embedded S3 server, run the same network with the same weights and write the five most
probable classes; the plain DataLoader's are the reference. Rivals run at their defaults, in environments of their own.
Imports, loading the network and starting a rival's own servers count. Memory counts shared pages once.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow.dataset as pads

from benchmarks.contests import CommandFailed, Used, measured, take_turns
from benchmarks.figures import Figure, Target, add_options, at_least, finish
from benchmarks.photos import accuracy, photos
from benchmarks.rivals.environments import HERE, NotInstallable, python_of
from resources.objects import s3
from resources.objects.backends import boto3_client
from resources.objects.store import ObjectStore
from resources.servers.embedded import Services
from resources.servers.endpoints import Endpoints

BUCKET = "photos"
AGREEMENT = 0.99
"""Share of photos whose most probable class must be the reference's: bf16 and other decoders move near-ties."""
QUIET = {
    "DO_NOT_TRACK": "1",
    "DATACHAIN_NO_ANALYTICS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "DAFT_ANALYTICS_ENABLED": "0",
    "PIXELTABLE_DISABLE_TELEMETRY": "1",
}


@dataclass
class Contestant:
    """Who runs: a program of this folder, and how many times faster Darkroom shall be.

    rival: whose requirements make its environment; None: this project's own. failed: why it can't run (any more).
    """

    name: str
    program: str
    rival: str | None = None
    target: Target | None = None
    arguments: tuple[str, ...] = ()
    failed: str = ""
    outputs: list[dict[str, int]] = field(default_factory=list)


def contestants() -> list[Contestant]:
    """Darkroom first, then its rivals."""
    keep = ("--keep-freed-memory",)
    return [
        Contestant("Darkroom", "with_darkroom.py"),
        Contestant("DataLoader", "with_dataloader.py", target=at_least(5)),
        Contestant("DataLoader, our malloc settings", "with_dataloader.py", target=at_least(2.5), arguments=keep),
        Contestant("Pixeltable", "with_pixeltable.py", "pixeltable", at_least(3)),
        Contestant("DataChain", "with_datachain.py", "datachain", at_least(3)),
        Contestant("Daft", "with_daft.py", "daft", at_least(3)),
        Contestant("Ray Data", "with_ray.py", "ray"),
    ]


def main() -> None:
    """Upload the photos, run everyone by turns, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs; without it, crops of the sample's photos")
    parser.add_argument("--limit", type=int, help="photos (1000; with --quick 128)")
    parser.add_argument("--repeats", type=int, help="runs of each (3; with --quick 1)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only contestants whose name has one of these in it")
    options = parser.parse_args()
    limit, repeats = options.limit or (128 if options.quick else 1000), options.repeats or (1 if options.quick else 3)
    running = [c for c in contestants() if not options.only or any(n.lower() in c.name.lower() for n in options.only)]
    with tempfile.TemporaryDirectory(prefix="rivals-") as name, Services(Path(name) / "home") as endpoints:
        upload(endpoints, options.photos, limit)
        pythons = {contestant.name: prepare(contestant) for contestant in running}
        runners = {c.name: runner(c, pythons[c.name], Path(name), endpoints) for c in running}
        uses_by_name = take_turns(runners, repeats)
    runs = {name: [used for used in uses if used is not None] for name, uses in uses_by_name.items()}
    usage_rows = {
        name: [{k: v for k, v in asdict(used).items() if k != "output"} for used in uses] for name, uses in runs.items()
    }
    finish(options, "rivals", figures(running, runs, limit), {"photos": limit, "runs": usage_rows})


def upload(endpoints: Endpoints, folder: Path | None, limit: int) -> None:
    """Put the photos into the bucket."""
    access = (endpoints.s3_endpoint, endpoints.access_key, endpoints.secret_key, endpoints.region)
    s3.ensure_bucket(boto3_client(*access), BUCKET, versioning=False)
    keys = {"endpoint": access[0], "access_key": access[1], "secret_key": access[2]}
    for _, error in ObjectStore.open(f"s3://{BUCKET}", **keys).put_many(photos(folder, limit)):
        if error:
            raise error


def prepare(contestant: Contestant) -> Path:
    """The Python that runs it; a rival that can't be installed has failed, with its reason."""
    if contestant.rival is None:
        return Path(sys.executable)
    try:
        return python_of(contestant.rival)
    except NotInstallable as error:
        contestant.failed = f"can't be installed: {error}"
        print(f"{contestant.name} {contestant.failed}", file=sys.stderr)
        return Path()


def runner(contestant: Contestant, python: Path, folder: Path, endpoints: Endpoints) -> Callable[[], Used | None]:
    """One run in an empty folder, as a function; it gives None once the contestant has failed."""

    def run() -> Used | None:
        if contestant.failed:
            return None
        work = Path(tempfile.mkdtemp(dir=folder))
        output = work / "classes.parquet"
        command = [str(python), str(HERE / contestant.program), BUCKET, str(output), *contestant.arguments]
        print(f"{contestant.name} ...", end=" ", flush=True)
        try:
            usage = measured(command, cwd=work, env=environment(endpoints, work))
            contestant.outputs.append(read(output))
        except CommandFailed as error:
            contestant.failed = f"its run failed: {str(error).strip().splitlines()[-1][:300]}"
            print(error, file=sys.stderr)
            return None
        finally:
            shutil.rmtree(work, ignore_errors=True)
        print(f"{usage.wall_s:.1f} s", flush=True)
        return usage

    return run


def environment(endpoints: Endpoints, work: Path) -> dict[str, str]:
    """Where S3 is, and that a rival keeps its state in this run's folder and reports to nobody."""
    return {
        "AWS_ENDPOINT_URL": endpoints.s3_endpoint,
        **dict.fromkeys(("SSL_CERT_FILE", "AWS_CA_BUNDLE"), endpoints.ca_bundle),
        "AWS_ACCESS_KEY_ID": endpoints.access_key,
        "AWS_SECRET_ACCESS_KEY": endpoints.secret_key,
        "AWS_REGION": endpoints.region,
        "AWS_DEFAULT_REGION": endpoints.region,
        "PIXELTABLE_HOME": str(work / "pixeltable"),
        "DATACHAIN_ROOT_DIR": str(work / "datachain"),
        "RAY_TMPDIR": str(work),
        "PATH": os.environ["PATH"],
        **QUIET,
    }


def read(output: Path) -> dict[str, int]:
    """The most probable class of each photo, by file name. output: a Parquet file or a folder of them."""
    table = pads.dataset(output, format="parquet").to_table(columns=["name", "top5"])
    names = [name.rsplit("/", 1)[-1] for name in table["name"].to_pylist()]
    return dict(zip(names, (int(top5[0]) for top5 in table["top5"].to_pylist()), strict=True))


def figures(running: list[Contestant], runs: dict[str, list[Used]], limit: int) -> list[Figure]:
    """Ratios with their targets first, then what each took and found."""
    wall_s = {name: statistics.median(use.wall_s for use in uses) for name, uses in runs.items() if uses}
    reference = next((c.outputs[0] for c in running if c.name == "DataLoader" and c.outputs), {})
    report = []
    darkroom_s = wall_s.get("Darkroom")
    for c in running[1:]:
        ratio = wall_s[c.name] / darkroom_s if darkroom_s and c.name in wall_s and not c.failed else None
        report.append(Figure(f"Darkroom faster than {c.name}", ratio, "x", c.target, c.failed if ratio is None else ""))
    for c in running:
        uses = runs[c.name]
        if not c.failed and uses:
            report.append(Figure(f"{c.name}: {limit} photos", wall_s[c.name], "s", note=costs(c, uses, limit)))
    for c in running:
        if c.name != "DataLoader" and c.outputs and reference:
            agreement = sum(c.outputs[-1].get(name) == index for name, index in reference.items()) / len(reference)
            report.append(Figure(f"{c.name}: share with the reference's top-1", agreement, "", at_least(AGREEMENT)))
    return report


def costs(contestant: Contestant, uses: list[Used], limit: int) -> str:
    """What a run took beside its seconds, and what it gave."""
    wall_s, cpu_s, peak_mb = (
        statistics.median(getattr(use, name) for use in uses) for name in ("wall_s", "cpu_s", "peak_mb")
    )
    right = accuracy(contestant.outputs[-1])
    top1 = f", top-1 {right:.3f}" if right is not None else ""
    return f"{limit / wall_s:.0f} photos/s, {cpu_s:.1f} CPU s, peak {peak_mb:,.0f} MB{top1}"


if __name__ == "__main__":
    main()
