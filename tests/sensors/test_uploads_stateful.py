"""Whatever users, clocks, stores, queues and crashes do: every surviving version is one row, every run is asked for once.

Hypothesis makes up what happens. The sensor's listing, its queue intake, the nightly walk and the ledger are the real
ones, the ledger on PostgreSQL; the bucket and the queue are `upload_world`.
"""

import itertools
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from upload_world import Crash, Queue, Version, World

from resources.database import ledger, reconciliation, seen_objects
from resources.database.ledger import Materialization
from resources.database.postgres import Postgres
from sensors.queue_intake import take_messages
from sensors.run_requests import PastRun, Patience, PendingDay, decide_requests
from sensors.uploads import list_uploads, upload_day
from sensors.uploads_decision import Cursor, Limits

NOW = datetime.now(UTC)
DAYS = [(NOW - timedelta(days=n)).date() for n in (0, 1, 2, 40)]
KEYS = [f"uploads/{day}/1/{name}" for day in DAYS for name in ("a.jpg", "a b+c.jpg", "z/é.jpg")] + [
    "uploads/no-day/x.jpg",
    "uploads/2999-01-01/1/x.jpg",
]
PATIENCE = Patience(first_wait=timedelta(seconds=5), longest_wait=timedelta(hours=2))
LIMITS = Limits(keys_per_round=8, page_keys=3)
buckets = (f"bucket-{n}" for n in itertools.count())
keys = st.sampled_from(KEYS)
contents = st.sampled_from(["A", "B", "C"])


class Uploads(RuleBasedStateMachine):
    """What can happen, whichever way the sensor learns of it."""

    def __init__(self, postgres: Postgres) -> None:
        super().__init__()
        self.postgres = postgres
        self.world = World(next(buckets))
        self.uploads = self.world.uploads()
        self.cursor: str | None = None
        self.runs: dict[str, PastRun] = {}
        self.going: list[str] = []

    @rule(key=keys, content=contents, minutes=st.sampled_from([0, 0, 0, 1, 300, 1430]))
    def upload(self, key: str, content: str, minutes: int) -> None:
        """A new key or an overwrite; a long upload shows with the time at which it began."""
        self.world.put(key, content, took=timedelta(minutes=minutes))

    @rule(key=keys)
    def put_back(self, key: str) -> None:
        """A, B, A: between two looks, in one second."""
        for content in "ABA":
            self.world.put(key, content)

    @rule(key=keys)
    def delete(self, key: str) -> None:
        self.world.delete(key)

    @rule()
    def delete_the_newest(self) -> None:
        current = self.world.current()
        if current:
            self.world.delete(max(current, key=lambda version: version.last_modified).key)

    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        """A version is deleted for good."""
        surviving = self.world.surviving()
        if surviving:
            self.world.purge(data.draw(st.sampled_from(surviving)))

    @rule(seconds=st.sampled_from([0.4, 1, 30, 4000]))
    def wait(self, seconds: float) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(outcome=st.sampled_from(["done", "done", "failed"]))
    def a_run_ends(self, outcome: str) -> None:
        """What a run sees is the day as it is in the ledger by then."""
        if self.going:
            self._end(self.going.pop(0), outcome == "done")

    @rule(kill_after=st.sampled_from([None, None, 1, 2]))
    def reconcile(self, kill_after: int | None) -> None:
        steps = 0

        def tell(totals: reconciliation.Totals) -> None:
            nonlocal steps
            steps += 1
            if steps == kill_after:
                raise Crash

        try:
            reconciliation.reconcile(self.postgres, self.uploads, "uploads/", upload_day, step_versions=4, tell=tell)
        except Crash:
            return

    def look(self) -> None:
        """The sensor learns of what is there."""
        raise NotImplementedError

    def teardown(self) -> None:
        """In the end everything is quiet: after ticks, runs and one walk, ledger and runs are as they should be."""
        for _ in range(12):
            self.look()
            self._ask()
        self._before_the_walk()
        for _ in range(2):  # the first may end a walk that was killed, and has not seen what came behind it
            found = reconciliation.reconcile(self.postgres, self.uploads, "uploads/", upload_day, step_versions=4)
        assert found.listed == len(self.world.surviving())
        self.world.now = max(self.world.now, datetime.now(UTC))  # by which the ledger says when a day was computed
        for _ in range(4):
            self.world.now += timedelta(hours=7)  # runs that were lost are given up, and days have gathered
            self._ask()
            while self.going:
                self._end(self.going.pop(0), True)
        rows = self._rows()
        assert len(rows) == len(set(rows))
        assert set(rows) <= {(version.key, version.version_id) for version in self.world.created}
        assert {(version.key, version.version_id) for version in self.world.surviving()} <= set(rows)
        assert self._pending() == []
        self._fates_are_true()

    def _before_the_walk(self) -> None:
        """What must hold without the nightly walk."""

    def _fates_are_true(self) -> None:
        newest = "select distinct on (key, version_id) key, version_id, fate from object_fates where bucket = %s "
        told = self.postgres.rows(f"{newest} order by key, version_id, fate_id desc", (self.world.bucket,))
        recorded = {(key, version_id): fate for key, version_id, fate in told}
        versions: dict[tuple[str, str], Version] = {(v.key, v.version_id): v for v in self.world.created}
        for row in self._rows():
            assert recorded.get(row, "current") == self.world.fate(versions[row]), row

    def _rows(self) -> list[tuple[str, str]]:
        return self.postgres.rows("select key, version_id from objects where bucket = %s", (self.world.bucket,))

    def _pending(self) -> list[PendingDay]:
        return [PendingDay(*row) for row in seen_objects.pending_days(self.postgres, self.world.bucket)]

    def _ask(self) -> None:
        """Ask for runs as the sensor does; Dagster drops a run key that it has had."""
        for wanted in decide_requests(self._pending(), list(self.runs.values()), self.world.now, PATIENCE).requests:
            assert wanted.run_key not in self.runs, "a run was asked for twice"
            same = [run for run in self.runs.values() if run.state == wanted.state]
            assert all(run.is_over or self.world.now - run.at >= PATIENCE.lost_after for run in same)
            self.runs[wanted.run_key] = PastRun(wanted.day, wanted.state, False, self.world.now)
            self.going.append(wanted.run_key)

    def _end(self, run_key: str, well: bool) -> None:
        run = self.runs[run_key]
        self.runs[run_key] = PastRun(run.day, run.state, True, self.world.now)
        days = seen_objects.object_days(self.postgres, self.world.bucket).select("day", "digest").iter_rows()
        seen = {"outside": dict(days)[run.day]}
        if well:
            ledger.record(self.postgres, [Materialization("raw_uploads", run.day, "d", 1, 0, "c", "i", seen, 1, None, "r")])


class Listing(Uploads):
    """The sensor lists."""

    @rule(
        crash=st.sampled_from(["", "", "before the cursor is kept"]), failing=st.sampled_from(["", "", "listing", "heads"])
    )
    def tick(self, crash: str, failing: str) -> None:
        self.world.failing, self.world.heads_away = int(failing == "listing"), failing == "heads"
        self.look(keep_cursor=not crash)
        self.world.failing, self.world.heads_away = 0, False
        if not crash:
            self._ask()

    def look(self, keep_cursor: bool = True) -> None:
        cursor, today = Cursor.from_json(self.cursor), self.world.now.date()
        found = list_uploads(self.uploads, self.postgres, cursor, today, LIMITS, until=time.monotonic() + 5)
        if keep_cursor:
            self.cursor = found.cursor.to_json()

    def _before_the_walk(self) -> None:
        """All that a reader of the bucket gets is known, if not by each version id that had the same content."""
        known = self.postgres.rows("select key, etag from objects where bucket = %s", (self.world.bucket,))
        assert {(version.key, version.etag) for version in self.world.current()} <= set(known)


class Queued(Uploads):
    """The sensor reads the queue; events may be lost, doubled and out of order."""

    def __init__(self, postgres: Postgres) -> None:
        super().__init__(postgres)
        self.queue = Queue(self.world, Random(0))

    @rule(lose=st.sampled_from([False, False, False, True]))
    def events_travel(self, lose: bool) -> None:
        self.queue.deliver(lose)

    @rule(fault=st.sampled_from(["", "", "crash", "away"]))
    def tick(self, fault: str) -> None:
        before = dict(self.queue.waiting)
        self.queue.crash_before_delete, self.queue.fails = fault == "crash", fault == "away"
        try:
            self.look()
            assert fault != "away" or self.queue.waiting == before
        except Crash:
            assert self.queue.waiting == before
        self.queue.crash_before_delete = self.queue.fails = False
        self.queue.reappear()
        self._ask()

    def look(self) -> None:
        take_messages(self.queue, self.uploads, self.postgres, upload_day, until=time.monotonic() + 5)

    def _before_the_walk(self) -> None:
        assert self.queue.waiting == {}


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Listing, Queued])
def test_every_surviving_version_is_one_row_and_every_run_is_asked_for_once(
    machine: type[Uploads], postgres_url: str
) -> None:
    postgres = Postgres(url=postgres_url)
    postgres.migrate()
    run_state_machine_as_test(
        partial(machine, postgres),
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # shrinking on a real database would take longer than reading the long script
        ),
    )
