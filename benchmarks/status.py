"""What `darkroom status` costs over 10,000 day partitions: the answer itself, and the whole command.

    python -m benchmarks.status [--partitions 10000] [--repeats 7]

A fresh home with embedded servers is filled with uploads, photos, users and a log file a day, and with a ledger that has
every day of every table twice: an older version and the current one. Lake tables are not needed: status asks the ledger, the
database and the bucket. All is current then, which is checked; one day's logs are changed, and exactly that day and its
readers must be stale.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from benchmarks.contests import measured
from benchmarks.figures import Figure, add_options, at_most, finish
from benchmarks.home import Home, fresh_home
from pipeline_assets.features.popularity import FINAL_DAYS
from pipeline_assets.framework import staleness
from pipeline_assets.framework.declaration import DECLARATIONS
from pipeline_assets.framework.planning import plan_days
from pipeline_assets.nightly import calendars
from pipeline_assets.nightly.status import status_json
from pipeline_assets.nightly.survey import Survey, survey
from resources.assembly import resolve
from resources.database import ledger, seen_objects
from resources.servers.services import running
from resources.settings import load_settings

TABLES = (*calendars.PHOTOS, *calendars.LOGS)
PHOTOS_A_DAY = 5
USERS = 200


def main() -> None:
    """Fill a home, time status in one process and as a command, tell the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--partitions", type=int, help="over all tables (10,000; with --quick 700)")
    parser.add_argument("--repeats", type=int, help="(7; with --quick 2)")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step](*options.arguments)))
        return
    partitions = options.partitions or (700 if options.quick else 10_000)
    repeats = options.repeats or (2 if options.quick else 7)
    days = -(-partitions // len(TABLES))
    with fresh_home("benchmarks.status") as home:
        home.step("fill", days)
        answers, _ = home.step("answer", repeats)
        commands = [command(home) for _ in range(repeats)]
        imports = [loaded() for _ in range(repeats)]
    details = {"days": days, "partitions": days * len(TABLES), **answers, "commands_s": commands, "imports_s": imports}
    finish(options, "status", figures(details), details)


def fill(days: str) -> dict[str, Any]:
    """Make a home in which every day of every table is current."""
    import pipeline_assets.definitions  # noqa: F401  declares the assets

    with running(load_settings()) as settings:
        resources = resolve(settings)
        last = datetime.now(UTC).date() - timedelta(days=FINAL_DAYS + 1)
        span = [last - timedelta(days=n) for n in reversed(range(int(days)))]
        make_outside(resources, span)
        night = [last + timedelta(days=FINAL_DAYS)]
        for asset in staleness.order({name: DECLARATIONS[name].rule for name in calendars.ASSETS}):
            record(resources, asset, night if asset in calendars.MODEL else span)
    return {}


def make_outside(resources: Mapping[str, Any], span: Sequence[date]) -> None:
    """Uploads in their ledger, photos and users in the database, a log file a day in the bucket."""
    database, at = resources["database"], datetime.combine(span[0], datetime.min.time(), UTC)
    keys = [(day, f"uploads/{day}/{n % USERS}/{n}.jpg", n % USERS) for day in span for n in range(PHOTOS_A_DAY)]
    seen_objects.add_objects(
        database,
        [seen_objects.SeenObject(resources["uploads"].bucket, key, "v1", "e", 1, at, day) for day, key, _ in keys],
    )
    database.insert("insert into users (user_id, joined_at, name) values %s", [(n, at, f"user {n}") for n in range(USERS)])
    rows = [(user, key, day, datetime.combine(day, datetime.min.time(), UTC)) for day, key, user in keys]
    database.insert("insert into photos (user_id, key, day, posted_at) values %s", rows)
    logs = ((f"events/{day}/log.jsonl.gz", str(day).encode) for day in span)
    for _, error in resources["lake_bucket"].store.put_many(logs, concurrency=16):
        assert error is None, error


def record(resources: Mapping[str, Any], name: str, days: list[date]) -> None:
    """Enter days of an asset, without rows, as computed from what is there now, each after an older version."""
    asset = DECLARATIONS[name]
    plan = plan_days(asset, resources["lake"], resources["database"], days, resources)
    for code in ("older", asset.code_version):
        version = resources["lake"].replace(name, days, asset.schema.create_empty())
        entries = [
            ledger.Materialization(
                asset=name,
                day=day,
                digest=2 * ledger.digest_of([name, str(day), code]),
                rows=0,
                rejected=0,
                code_version=code,
                inputs_digest=plan.inputs_digest[day],
                inputs=plan.inputs[day],
                delta_version=version,
                git_commit=None,
                run_id="benchmark",
                parts=asset.parts,
                seconds=0.1,
            )
            for day in days
        ]
        ledger.record(resources["database"], entries)


def answer(repeats: str) -> dict[str, Any]:
    """Seconds of the whole answer as JSON, where all is current and where one day of the logs has changed."""
    import pipeline_assets.definitions  # noqa: F401  declares the assets

    with running(load_settings()) as settings:
        resources, today = resolve(settings), datetime.now(UTC).date()

        def ask() -> float:
            began = time.perf_counter()
            status_json(settings, today)
            return time.perf_counter() - began

        before: Survey = survey(resources, today)
        assert before.stale.is_empty(), before.stale
        current = [ask() for _ in range(int(repeats))]
        changed = before.days.filter(asset="event_log")["day"][-60]
        resources["lake_bucket"].store.put(f"events/{changed}/late.jsonl.gz", b"late")
        after = survey(resources, today)
        assert set(after.stale.filter(asset="event_log")["day"]) == {changed}
        readers = {name: after.stale.filter(asset=name).height for name in calendars.ASSETS}
        window = {name: end - start + 1 for name, (start, end) in _windows("event_log").items()}
        assert {name: readers[name] for name in window} == window, readers
        one_changed = [ask() for _ in range(int(repeats))]
    return {"current_s": current, "one_changed_s": one_changed, "stale": readers, "judged": before.days.height}


def _windows(read: str) -> dict[str, tuple[int, int]]:
    """The assets that read one, with their windows."""
    rules = {name: DECLARATIONS[name].rule for name in calendars.ASSETS}
    return {name: rule.windows[read] for name, rule in rules.items() if read in rule.windows}


def command(home: Home) -> float:
    """Seconds of `darkroom status --json` as a person runs it, beside servers that are up."""
    words = [sys.executable, "-m", "pipeline_assets.cli", "status", "--json"]
    return measured(words, env={"DARKROOM_HOME": str(home.folder)}).wall_s


def loaded() -> float:
    """Seconds to start Python and import what the command needs."""
    return measured([sys.executable, "-c", "import pipeline_assets.nightly.status, pipeline_assets.definitions"]).wall_s


def figures(details: Mapping[str, Any]) -> list[Figure]:
    """Medians; the target is the answer's."""
    size = f"{details['partitions']:,} partitions"
    stale = sum(details["stale"].values())
    return [
        Figure(f"status over {size}, all current", statistics.median(details["current_s"]), "s", at_most(1.0)),
        Figure(
            f"status over {size}, one changed",
            statistics.median(details["one_changed_s"]),
            "s",
            at_most(1.0),
            f"exactly its {stale - 1} readers are stale with it",
        ),
        Figure("darkroom status as a command", statistics.median(details["commands_s"]), "s"),
        Figure("of which starting Python and importing", statistics.median(details["imports_s"]), "s"),
    ]


STEPS: dict[str, Callable[..., dict[str, Any]]] = {"fill": fill, "answer": answer}

if __name__ == "__main__":
    main()
