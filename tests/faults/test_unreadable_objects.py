"""Objects that can't be read: one is a row with its reason, is tried again, and takes nothing away from its neighbours."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from fault_proxy import Answer, Fault, FaultProxy
from polars.testing import assert_frame_equal
from world import World, photo

from resources.database import seen_objects

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
    pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying BackfillPolicies"),
]
TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)
PHOTOS = ("photo_classes", "photo_styles")


class Shop(World):
    """A world whose uploads are its own."""

    def put(self, user: int, data: bytes, day: date = TODAY, name: str = "a.jpg") -> tuple[str, str | None]:
        """Upload, and let it be seen. Returns the key and its version id."""
        key = f"uploads/{day}/{user}/{name}"
        version_id = self.uploads.store.put(key, data)
        listed = list(self.uploads.store.list("uploads/"))
        seen_objects.enter(self.postgres, self.uploads, listed, lambda info: date.fromisoformat(info.key.split("/")[1]))
        return key, version_id

    def table(self, name: str) -> pl.DataFrame:
        """A table's rows; none if it was never written."""
        return self.lake.scan(name).collect() if self.lake.exists(name) else pl.DataFrame({"day": [], "reason": []})

    def verdicts(self) -> dict[str, str]:
        return dict(self.table("raw_uploads").select("key", "verdict").iter_rows())

    def let_time_pass(self, **much: float) -> None:
        self.postgres.execute("update unread set since = since - %s", (timedelta(**much),))


@pytest.fixture
def shop(empty_world: World) -> Shop:
    return Shop(empty_world.home, empty_world.settings, empty_world.direct)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(403, "AccessDenied"), "access is denied"),
        (Answer(403, "InvalidObjectState"), "archived"),
        (Answer(400, "KMS.NotFoundException"), "key that encrypts it"),
        (Answer(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption."), "its writer"),
    ],
    ids=lambda value: value.code if isinstance(value, Answer) else "",
)
def test_an_unreadable_object_is_a_row_that_is_tried_again_and_its_neighbours_go_on(
    shop: Shop, proxy: FaultProxy, answer: Answer, said: str
) -> None:
    locked, _ = shop.put(1, photo(1))
    free, _ = shop.put(2, photo(2))
    with proxy.faulty(Fault(answer, f"/{locked}", "GET", times=None)):
        assert shop.execute("raw_uploads") == {}
        assert shop.verdicts() == {locked: "unreadable", free: "ok"}
        (detail,) = shop.table("raw_uploads").filter(pl.col("key") == locked)["verdict_detail"]
        assert said in detail
        shop.let_time_pass(minutes=6)
        before = shop.table("raw_uploads")
        assert shop.execute("raw_uploads") == {}
        assert_frame_equal(shop.table("raw_uploads"), before)
    asked = len(proxy.requests(locked))
    assert shop.execute("raw_uploads") == {}
    assert shop.verdicts()[locked] == "unreadable", "the next try is not due yet"
    assert len(proxy.requests(locked)) == asked
    shop.let_time_pass(days=1)
    assert shop.execute("raw_uploads") == {}
    assert shop.verdicts() == {locked: "ok", free: "ok"}
    asked = len(proxy.requests("/uploads/"))
    shop.let_time_pass(days=400)
    assert shop.execute("raw_uploads") == {}
    assert len(proxy.requests("/uploads/")) == asked, "what was read waits for nothing"


def test_credentials_that_are_refused_say_nothing_of_the_objects(shop: Shop, proxy: FaultProxy) -> None:
    key, _ = shop.put(1, photo(1))
    with proxy.faulty(Fault(Answer(403, "InvalidAccessKeyId"), f"/{key}", "GET", times=None)):
        assert "raw_uploads" in shop.execute("raw_uploads")
    assert shop.execute("raw_uploads") == {}
    assert shop.verdicts() == {key: "ok"}


def test_a_deleted_copy_takes_away_no_other_users_photo_of_the_same_bytes(shop: Shop, s3_client: Any) -> None:
    first, version = shop.put(1, photo(1))
    shop.put(2, photo(1))
    assert shop.execute("raw_uploads") == {}
    delete(shop, s3_client, first, version)
    assert shop.execute(*PHOTOS) == {}
    for name in PHOTOS:
        assert shop.table(name).height == 1
        assert shop.table(f"{name}_rejected").is_empty()


def test_a_photo_that_is_gone_comes_back_by_a_copy_of_another_day(shop: Shop, s3_client: Any) -> None:
    first, version = shop.put(1, photo(1), YESTERDAY)
    shop.put(1, photo(2), YESTERDAY, "neighbour.jpg")
    assert shop.execute("raw_uploads") == {}
    delete(shop, s3_client, first, version)
    assert shop.execute(*PHOTOS) == {}
    for name in PHOTOS:
        assert shop.table(name).height == 1
        assert shop.table(f"{name}_rejected")["reason"].to_list() == ["gone"]
    shop.put(2, photo(1), TODAY)
    assert shop.execute("raw_uploads", *PHOTOS) == {}
    for name in PHOTOS:
        assert shop.table(name).filter(pl.col("day") == YESTERDAY).height == 2
        assert shop.table(f"{name}_rejected").filter(pl.col("day") == YESTERDAY).is_empty()


def test_a_photo_whose_copy_of_an_earlier_day_is_there_needs_none_of_its_own(shop: Shop, s3_client: Any) -> None:
    shop.put(1, photo(1), YESTERDAY)
    later, version = shop.put(2, photo(1), TODAY)
    assert shop.execute("raw_uploads") == {}
    delete(shop, s3_client, later, version)
    shop.postgres.execute("delete from results")
    assert shop.execute(*PHOTOS) == {}
    assert sorted(shop.table("photo_classes")["day"]) == [YESTERDAY, TODAY]


def test_a_photo_that_was_damaged_is_classified_once_its_bytes_are_back(shop: Shop, proxy: FaultProxy) -> None:
    key, _ = shop.put(1, photo(1))
    assert shop.execute("raw_uploads") == {}
    with proxy.faulty(Fault(Answer(403, "AccessDenied"), f"/{key}", "GET", times=None)):
        assert shop.execute(*PHOTOS) == {}
    assert shop.table("photo_classes_rejected")["reason"].to_list() == ["unreadable"]
    shop.let_time_pass(minutes=6)
    assert shop.execute(*PHOTOS) == {}
    assert shop.table("photo_classes").height == 1
    assert shop.table("photo_classes_rejected").is_empty()


def delete(shop: Shop, s3_client: Any, key: str, version_id: str | None) -> None:
    """For good, with its version."""
    access = shop.uploads.store.s3
    assert access
    s3_client.delete_object(Bucket=access.bucket, Key=access.full(key), VersionId=version_id)
