"""Claims on days: they hold while their command lives, and the older one goes first."""

import subprocess
import sys
import time
from datetime import date, timedelta

import pytest

from resources.database import claims
from resources.database.claims import Claim, Span
from resources.database.contract import Database
from resources.database.postgres import Postgres

DAY = date(2026, 3, 1)
WEEK = Span("a", DAY, DAY + timedelta(days=6))
EVERYTHING = Span("a", date.min, date.max)


def test_a_claim_holds_for_its_block_and_can_be_narrowed(database: Database) -> None:
    assert claims.live(database) == []
    with claims.hold(database, "me", [EVERYTHING]) as mine:
        assert claims.live(database) == [Claim(mine.claim_id, "me", (EVERYTHING,))]
        mine.narrow([WEEK, Span("b", DAY, DAY)])
        assert claims.live(database)[0].spans == (WEEK, Span("b", DAY, DAY))
    assert claims.live(database) == []


def test_a_claim_ends_with_an_error_of_its_block(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), claims.hold(database, "me", [WEEK]):
        1 / 0  # noqa: B018
    assert claims.live(database) == []


def test_the_older_claim_on_a_common_day_goes_first_so_that_no_two_wait_for_each_other(database: Database) -> None:
    with claims.hold(database, "first", [WEEK]) as first, claims.hold(database, "second", [EVERYTHING]) as second:
        assert [claim.who for claim in second.older_claims([EVERYTHING])] == ["first"]
        assert first.older_claims([WEEK]) == []
        assert second.older_claims([Span("a", WEEK.last + timedelta(days=1), date.max)]) == []
        assert second.older_claims([Span("b", DAY, DAY)]) == []


def test_a_claim_that_is_renewed_holds_longer_than_one_that_is_not(database: Database) -> None:
    with claims.hold(database, "me", [WEEK], renew_s=0.05) as mine:
        claims_at = "select renewed_at from claims where claim_id = %s"
        ((began,),) = database.rows(claims_at, (mine.claim_id,))
        while database.rows(claims_at, (mine.claim_id,)) == [(began,)]:
            time.sleep(0.02)
        assert claims.live(database, lapses_s=5)


def test_the_claim_of_a_killed_command_is_none_here_and_lapses_elsewhere(postgres_url: str) -> None:
    database = Postgres(url=postgres_url)
    database.migrate()
    code = (
        "import sys; from datetime import date; from resources.database import claims; from resources.database.postgres import Postgres\n"
        "with claims.hold(Postgres(url=sys.argv[1]), 'killed', [claims.Span('a', date.min, date.max)]):\n"
        "    print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", code, postgres_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert [claim.who for claim in claims.live(database)] == ["killed"]
        process.kill()
        process.wait(10)
    assert claims.live(database) == []
    database.execute("update claims set process = 'of another machine'")
    assert [claim.who for claim in claims.live(database)] == ["killed"]
    database.execute("update claims set renewed_at = renewed_at - interval '91 seconds'")
    assert claims.live(database) == []
    database.execute("update claims set renewed_at = renewed_at - interval '2 days'")
    with claims.hold(database, "me", [WEEK]):
        assert database.rows("select who from claims") == [("me",)]
