"""A table pinned: its rows at one version with all they follow from, whatever a run does at the same time."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from pipeline_assets import catalog  # noqa: F401  it declares the assets
from pipeline_assets.errors import PinRefused
from pipeline_assets.framework.declaration import DECLARATIONS
from pipeline_assets.framework.planning import plan_days
from pipeline_assets.versioning.pin.contents import Pinned
from pipeline_assets.versioning.pin.day_digests import newest, recounted
from pipeline_assets.versioning.pin.pins import Label
from pipeline_assets.versioning.pin.reference import Code, Reference
from pipeline_assets.versioning.pin.table_pins import Pinnable, pin_table
from resources.database import day_writers, ledger
from resources.database.postgres import Postgres
from resources.lake.lake import Lake
from resources.objects.resource import Objects

DAYS = (date(2026, 2, 1), date(2026, 2, 2))
LABEL = Label("set", Code(commit="a" * 40, clean=True), "tests", "what it is", datetime(2026, 3, 1, tzinfo=UTC))


class House:
    """Two days of uploads and their styles in a real lake and ledger."""

    def __init__(self, folder: Path, postgres_url: str) -> None:
        objects = Objects(url=(folder / "objects").as_uri())
        uploads = Objects(url=(folder / "uploads").as_uri())
        postgres = Postgres(url=postgres_url)
        postgres.migrate()
        self.of = Pinnable(Lake(url=str(folder / "lake")), postgres, uploads, objects)
        for number, day in enumerate(DAYS):
            self.upload(day, f"photo {number}".encode())

    def upload(self, day: date, *photos: bytes, is_recorded: bool = True) -> None:
        """Put photos, and write the day of raw_uploads and photo_styles as a run would."""
        refs = [self.of.uploads.store.put_if_absent(photo) for photo in photos]
        rows = [
            {
                "day": day,
                "bucket": self.of.uploads.bucket,
                "key": f"sha256/{ref.sha256[:2]}/{ref.sha256[2:]}",
                "version_id": "etag-1",
                "uploaded_at": datetime(2026, 2, 1, tzinfo=UTC),
                "size_bytes": ref.size,
                "sha256": ref.sha256,
                "media_type": "image/jpeg",
                "verdict": "ok",
            }
            for ref in refs
        ]
        self.write("raw_uploads", day, pl.DataFrame(rows))
        styles = (
            DECLARATIONS["photo_styles"]
            .schema.sample(len(refs))
            .with_columns(day=pl.lit(day), sha256=pl.Series([ref.sha256 for ref in refs]))
        )
        self.write("photo_styles", day, styles, is_recorded=is_recorded)

    def write(self, asset: str, day: date, rows: pl.DataFrame, *, is_recorded: bool = True) -> None:
        """One day of a table: committed, and entered into the ledger."""
        declaration = DECLARATIONS[asset]
        empty = declaration.schema.create_empty()
        whole = pl.concat([empty, rows.cast({n: t for n, t in empty.schema.items() if n in rows.columns})], how="diagonal")
        version = self.of.lake.replace(asset, [day], whole)
        if not is_recorded:
            return
        [(_, _, digest)] = recounted(self.of.lake, asset, [day], version).iter_rows()
        resources = {"database": self.of.database, "lake": self.of.lake}
        can_ask = declaration.can_be_rebuilt
        plan = plan_days(declaration, self.of.lake, self.of.database, [day], resources) if can_ask else None
        entry = ledger.Materialization(
            asset=asset,
            day=day,
            digest=digest,
            rows=rows.height,
            rejected=0,
            code_version=declaration.code_version,
            inputs_digest=plan.inputs_digest[day] if plan else "",
            inputs=plan.inputs[day] if plan else {},
            delta_version=version,
            git_commit=None,
            run_id="r",
        )
        ledger.record(self.of.database, [entry])

    def pin(self, asset: str = "photo_styles", *, is_stale_allowed: bool = False) -> Reference:
        return pin_table(LABEL, asset, None, None, self.of, is_stale_allowed=is_stale_allowed)

    def opened(self, pinned: Reference) -> Pinned:
        return Pinned(pinned, self.of.lake, {"uploads": self.of.uploads.store, "objects": self.of.objects.store})


@pytest.fixture
def house(tmp_path: Path, postgres_url: str) -> House:
    return House(tmp_path, postgres_url)


def test_a_pin_names_the_rows_what_they_follow_from_and_their_photos(house: House) -> None:
    pinned = house.pin()
    assert pinned.asset == "photo_styles"
    assert set(pinned.tables) == {"photo_styles", "raw_uploads"}
    assert pinned.table is not None
    assert (pinned.table.first_day, pinned.table.last_day, pinned.table.rows) == (*DAYS, 2)
    opened = house.opened(pinned)
    photos = {row["path"]: data for row, data in opened.read(opened.files)}
    assert sorted(photos.values()) == [b"photo 0", b"photo 1"]
    assert all(path.startswith("files/") and path.endswith(".jpg") for path in photos)
    assert Reference.loads(pinned.dumps(), "it") == pinned
    assert len(pinned.dumps()) < 4096


def test_rows_and_photos_of_a_pin_stay_when_their_days_are_replaced(house: House) -> None:
    before = house.pin()
    rows = house.opened(before).rows().sort("day").collect()
    house.upload(DAYS[1], b"another", b"and another")
    after = house.pin()
    assert after.identity != before.identity
    assert house.opened(before).rows().sort("day").collect().equals(rows)
    assert house.opened(after).rows().collect().height == 3
    assert house.opened(before).files.height == 2


def test_the_same_state_pinned_twice_has_one_identity_whoever_pins_it_when_under_which_name(house: House) -> None:
    other = Label("other", LABEL.code, "somebody")
    assert pin_table(other, "photo_styles", None, None, house.of).identity == house.pin().identity


def test_a_day_committed_and_not_yet_in_the_ledger_is_pinned_as_its_rows_are(house: House) -> None:
    house.upload(DAYS[1], b"in flight", is_recorded=False)
    day_writers.claim(house.of.database, "photo_styles", [DAYS[1]], [DAYS[1]], "r2")
    pinned = house.pin(is_stale_allowed=True)
    known = newest(house.of.lake, house.of.database, "photo_styles", *DAYS)
    again = recounted(house.of.lake, "photo_styles", DAYS, known.version)
    assert known.days.equals(again)
    assert pinned.table == known.table
    assert [row["sha256"] for row in house.opened(pinned).files.iter_rows(named=True)]


def test_a_table_of_which_only_some_days_are_pinned_names_no_others(house: House) -> None:
    pinned = pin_table(LABEL, "photo_styles", DAYS[1], DAYS[1], house.of)
    assert pinned.tables["raw_uploads"].first_day == pinned.tables["raw_uploads"].last_day == DAYS[1]
    assert pinned.manifest.files == 1


def test_days_that_do_not_follow_from_their_inputs_any_more_are_refused_unless_allowed(house: House) -> None:
    house.upload(DAYS[0], b"newer", is_recorded=False)
    with pytest.raises(PinRefused, match=r"not current \(2026-02-01: data\).*--allow-stale"):
        house.pin()
    assert house.pin(is_stale_allowed=True).asset == "photo_styles"


@pytest.mark.parametrize(("asset", "told"), [("nothing", "is no asset"), ("training_table", "has no rows in these days")])
def test_what_can_not_be_pinned_is_said_with_what_to_do(house: House, asset: str, told: str) -> None:
    with pytest.raises(PinRefused, match=told):
        house.pin(asset)


def test_a_photo_from_another_bucket_is_not_looked_for_in_this_one(house: House, tmp_path: Path) -> None:
    elsewhere = Pinnable(house.of.lake, house.of.database, Objects(url=(tmp_path / "other").as_uri()), house.of.objects)
    with pytest.raises(PinRefused, match="DARKROOM_UPLOADS_URL"):
        pin_table(LABEL, "photo_styles", None, None, elsewhere)
