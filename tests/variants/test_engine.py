"""From parents to rows, with real databases and stores: nothing twice, nothing lost, nothing over a split."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from toy_kind import Words

from pipeline_assets.errors import BadRecipe
from pipeline_assets.framework.declaration import RunOfDays, Table
from pipeline_assets.variants.engine.making import variants_of
from pipeline_assets.variants.kinds import Outcome, Work
from pipeline_assets.variants.schemas import Variants
from resources.database.contract import Database
from resources.errors import NotFound, StoreUnavailable
from resources.objects.packs import PACKED_BELOW
from resources.objects.results import Results
from resources.objects.store import ObjectStore
from resources.variant_policy import KindPolicy

DAY, NEXT = date(2026, 3, 1), date(2026, 3, 2)


class WordVariants(Variants):
    length = dy.Int32(nullable=True)
    mask_sha256 = dy.String(nullable=True)


def of(*words: str, day: date = DAY, split: str = "train", labels: str = "{}") -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "day": day,
                "sha256": hashlib.sha256(word.encode()).hexdigest(),
                "source": word,
                "split": split,
                "labels_json": labels,
                "phash": None,
                "data": word.encode(),
            }
            for word in words
        ],
        schema_overrides={"phash": pl.String, "data": pl.Binary},
    )


class World:
    """One database and store; each call is a run."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self.results = Results(database, store)
        self.kind = Words()

    def run(self, parents: pl.DataFrame, policy: KindPolicy | None = None, seed: int = 0, fetch: object = None) -> Table:
        self.kind.made.clear()
        contents = dict(zip(parents["sha256"], parents["data"], strict=True))

        def served(hashes: Iterable[str]) -> Iterator[tuple[str, bytes | Exception]]:
            asked = list(hashes)
            self.fetched = len(asked)
            return ((sha256, contents[sha256]) for sha256 in reversed(asked))

        days = tuple(parents["day"].unique().sort())
        run = RunOfDays("word_variants", days, "code", "run", logging.getLogger("test"))
        return variants_of(
            run,
            self.kind,
            WordVariants,
            parents,
            fetch or served,
            self.results,
            policy or KindPolicy(),
            seed,  # type: ignore[arg-type]
        )

    def text(self, row: dict[str, Any]) -> str:
        """A variant's bytes, from where its row says that they lie."""
        place = row["object_sha256"], row["object_offset"], row["size_bytes"]
        return bytes(self.results.store.get_part(row["content_sha256"], *place)).decode()


@pytest.fixture
def world(database: Database, object_store: Callable[[str], ObjectStore]) -> World:
    return World(database, object_store("folder"))


def rows(table: Table) -> pl.DataFrame:
    assert isinstance(table.rows, pl.DataFrame)
    return WordVariants.validate(table.rows)


def test_a_variant_is_a_row_whose_bytes_are_kept(world: World) -> None:
    found = rows(world.run(of("abc"), KindPolicy(recipes=["turned"], children=1)))
    row = found.row(0, named=True)
    assert world.text(row) == "cba"
    assert world.results.store.get_content(row["mask_sha256"]) == b"mcba"
    assert (row["source"], row["recipe"], row["size_bytes"], row["length"]) == ("abc", "turned", 3, 3)
    assert row["other_parent_sha256"] is None
    assert world.fetched == 1


def test_small_variants_lie_end_to_end_in_one_object_and_a_large_one_in_its_own(world: World) -> None:
    large = "z" * PACKED_BELOW
    found = rows(world.run(of("abc", "defg", "hijkl", large), KindPolicy(recipes=["turned"], children=1)))
    assert [world.text(row) for row in found.iter_rows(named=True)] == ["cba", "gfed", "lkjih", large]
    assert found["object_sha256"][3] == found["content_sha256"][3]
    packed = found.head(3)
    assert packed["object_sha256"].n_unique() == 1
    whole = world.results.store.get_content(packed["object_sha256"][0]).decode()
    assert sorted(whole) == sorted("abcdefghijkl")
    assert (
        packed.sort("object_offset")["object_offset"].diff().drop_nulls().to_list()
        == (packed.sort("object_offset")["size_bytes"].to_list()[:-1])
    )


def test_rows_kept_before_variants_shared_objects_name_their_own(world: World) -> None:
    policy = KindPolicy(recipes=["turned"], children=1)
    made = rows(world.run(of("abc"), policy)).row(0, named=True)
    (kept,) = world.results.parts("variants/words", [made["variant_id"]])
    world.results.database.execute("delete from results", ())
    world.results.put("variants/words", kept.drop("object_sha256", "object_offset"))
    world.results.store.put_if_absent(b"cba")
    again = rows(world.run(of("abc"), policy)).row(0, named=True)
    assert world.kind.made == []
    assert (again["object_sha256"], again["object_offset"]) == (again["content_sha256"], 0)
    assert world.text(again) == "cba"


def test_what_is_known_is_looked_up_and_a_new_parent_makes_its_own_alone(world: World) -> None:
    first = rows(world.run(of("abc", "defg")))
    assert len(world.kind.made) == 4
    assert_frame_equal(rows(world.run(of("abc", "defg"))), first)
    assert world.kind.made == []
    grown = rows(world.run(of("abc", "defg", "hijk")))
    assert len(world.kind.made) == 2
    assert_frame_equal(grown.filter(pl.col("source") != "hijk"), first)


def test_neither_order_nor_company_changes_a_variant_of_one_parent(world: World) -> None:
    policy = KindPolicy(recipes=["turned", "shuffled"], children=3)
    apart = pl.concat([rows(world.run(of(word), policy, seed=3)) for word in ("abcdef", "ghijkl")])
    world.results.database.execute("delete from results", ())
    together = rows(world.run(of("ghijkl", "abcdef"), policy, seed=3))
    assert len(world.kind.made) == 6
    place = "object_sha256", "object_offset"
    assert_frame_equal(together.drop(place), apart.sort("day", "source", "number").drop(place))
    assert rows(world.run(of("abcdef"), policy, seed=4))["seed"].to_list() != apart["seed"].to_list()[:3]


def test_a_mixture_names_both_parents_of_one_split(world: World) -> None:
    policy = KindPolicy(recipes=["joined"], children=1, splits=["train", "test"])
    found = rows(world.run(pl.concat([of("ab", "cd", "ef"), of("gh", split="test")]), policy))
    assert found["source"].to_list() == ["cd", "ef"]  # the first has no earlier partner, and test none at all
    assert world.text(found.row(0, named=True)) == "cdab"
    assert set(found["split"]) == {"train"}


def test_the_same_item_on_two_days_is_worked_on_once(world: World) -> None:
    found = rows(world.run(pl.concat([of("abc"), of("abc", day=NEXT)])))
    assert len(world.kind.made) == 2
    assert found.group_by("day").len().sort("day").rows() == [(DAY, 2), (NEXT, 2)]


def test_a_bad_item_is_rejected_with_its_reason_and_harms_no_neighbour(world: World) -> None:
    table = world.run(of("abc", "a1c", "def"), KindPolicy(recipes=["turned"], children=1))
    assert rows(table)["source"].to_list() == ["abc", "def"]
    assert table.rejected is not None
    assert table.rejected.select("day", "source", "reason").rows() == [(DAY, "a1c #0", "undecodable")]


def test_labels_that_are_not_true_any_more_keep_the_variant_out(world: World) -> None:
    labelled = of("abx", labels='{"letter":"a"}')
    table = world.run(labelled, KindPolicy(recipes=["turned"], children=1))
    assert rows(table).is_empty()
    assert table.rejected is not None
    assert table.rejected["reason"].to_list() == ["labels_untrue"]


def test_changed_labels_make_the_row_anew(world: World) -> None:
    policy = KindPolicy(recipes=["turned"], children=1)
    before = rows(world.run(of("abc"), policy))
    after = rows(world.run(of("abc", labels='{"letter":"a"}'), policy))
    assert after["labels_json"].to_list() == ['{"letter":"c"}']
    assert after["variant_id"].to_list() == before["variant_id"].to_list()


def test_an_item_in_two_splits_has_no_variants(world: World) -> None:
    everywhere = KindPolicy(splits=["train", "test"], recipes=["turned"], children=1)
    table = world.run(pl.concat([of("abc", "def"), of("abc", split="test")]), everywhere)
    assert rows(table)["source"].to_list() == ["def"]
    assert table.rejected is not None
    assert table.rejected["reason"].to_list() == ["family_in_two_splits"] * 2


def test_bytes_that_are_gone_or_others_are_reasons_and_a_store_that_is_away_ends_the_run(world: World) -> None:
    parents, policy = of("abc", "def", "ghi"), KindPolicy(recipes=["turned"], children=1)

    def answers(by_position: list[bytes | Exception]) -> Callable[[Iterable[str]], Iterator[tuple[str, bytes | Exception]]]:
        return lambda hashes: zip(hashes, by_position, strict=False)

    failed = world.run(parents, policy, fetch=answers([NotFound("k", "deleted"), b"others", b"others too"])).rejected
    assert failed is not None
    assert sorted(failed["reason"]) == ["corrupt", "corrupt", "gone"]
    with pytest.raises(StoreUnavailable):
        world.run(parents, policy, fetch=answers([StoreUnavailable("away")]))


def test_what_was_made_before_an_error_is_not_made_again(world: World) -> None:
    parents, policy = of("abc", "def", "ghi"), KindPolicy(recipes=["turned"], children=1)

    def breaking(hashes: Iterable[str]) -> Iterator[tuple[str, bytes | Exception]]:
        contents = dict(zip(parents["sha256"], parents["data"], strict=True))
        for number, sha256 in enumerate(hashes):
            if number == 2:
                raise StoreUnavailable("away")
            yield sha256, contents[sha256]

    with pytest.raises(StoreUnavailable):
        world.run(parents, policy, fetch=breaking)
    assert rows(world.run(parents, policy)).height == 3
    assert len(world.kind.made) == 1


def test_a_policy_that_names_no_recipe_of_the_kind_says_which_there_are(world: World) -> None:
    with pytest.raises(BadRecipe, match=r"words has no recipe sepia. There are: turned, shuffled, joined"):
        world.run(of("abc"), KindPolicy(recipes=["sepia"]))


class Backwards(Words):
    """The same, the last first: outcomes come in any order."""

    def make(self, work: Iterable[Work]) -> Iterator[Outcome]:
        return iter(list(super().make(work))[::-1])


def test_one_content_with_labels_on_one_day_and_none_on_another_is_two_variants_of_the_same_bytes(world: World) -> None:
    world.kind = Backwards()
    parents = pl.concat([of("abc", labels='{"letter": "a"}'), of("abc", day=NEXT)])
    found = rows(world.run(parents, KindPolicy(recipes=["turned"], children=1)))
    assert found["variant_id"].n_unique() == found["content_sha256"].n_unique() == 1
    assert dict(found.select("day", "labels_json").iter_rows()) == {DAY: '{"letter":"c"}', NEXT: "{}"}


def test_labels_kept_by_a_kind_that_carried_them_otherwise_are_made_anew_with_the_same_bytes(world: World) -> None:
    parents, policy = of("abc", labels='{"letter":"a"}'), KindPolicy(recipes=["turned"], children=1)
    before = rows(world.run(parents, policy))
    world.kind.labels_version = 2
    after = rows(world.run(parents, policy))
    assert world.kind.made == after["variant_id"].to_list() == before["variant_id"].to_list()
    assert after["content_sha256"].to_list() == before["content_sha256"].to_list()
    assert rows(world.run(parents, policy)).equals(after)
    assert world.kind.made == []


def test_labels_that_do_not_fit_reject_their_own_day_alone(world: World) -> None:
    world.kind = Backwards()
    parents = pl.concat([of("abc", labels='{"letter": "wrong"}'), of("abc", day=NEXT)])
    made = world.run(parents, KindPolicy(recipes=["turned"], children=1))
    assert rows(made)["day"].to_list() == [NEXT]
    assert made.rejected is not None
    assert made.rejected.select("day", "reason").rows() == [(DAY, "bad_labels")]


def test_where_labels_decide_bytes_other_labels_are_another_identity(world: World) -> None:
    ids = []
    for heeds in (False, True):
        world.kind = Words()
        world.kind.heeds_labels = heeds
        parents = pl.concat([of("abc", labels='{"letter": "a"}'), of("abc", day=NEXT)])
        found = rows(world.run(parents, KindPolicy(recipes=["turned"], children=1)))
        ids.append(dict(found.select("day", "variant_id").iter_rows()))
    assert ids[0][DAY] == ids[0][NEXT] == ids[1][NEXT] != ids[1][DAY]
