"""Labels that are probably wrong, of one question."""

import tracemalloc
from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline_assets.exploration.suspects.items import embedded
from pipeline_assets.exploration.suspects.neighbours import directions, families, nearest
from pipeline_assets.exploration.suspects.probabilities import probabilities
from pipeline_assets.exploration.suspects.schemas import LabelSuspects
from pipeline_assets.exploration.suspects.suspects import suspects, where
from tests.exploration.labelled import CLASSES, changed, items, sha256


def told(rows):
    return suspects(rows).select("task_key", "kind", "given", "suggested").rows()


def test_right_labels_are_no_suspects():
    assert told(items()) == []


def test_wrong_labels_are_suspects_with_the_label_that_fits_them_and_nothing_else_is():
    rows = changed(changed(items(), 3, given="dog"), 7, given="fox")
    found = suspects(rows)
    LabelSuspects.validate(found.with_columns(day=date(2026, 1, 3)).select(LabelSuspects.column_names()))
    assert set(found.select("task_key", "kind", "given", "suggested").rows()) == {
        (sha256(3), "label_error", "dog", "cat"),
        (sha256(7), "label_error", "fox", "dog"),
    }
    assert (found["probability_suggested"] > 0.8).all()
    assert (found["probability_given"] < 0.1).all()


def test_gold_and_adjudicated_answers_are_no_suspects():
    assert told(changed(items(), 3, given="dog", is_settled=True)) == []


def test_copies_by_bytes_hash_or_embedding_that_disagree_are_suspects():
    rows = items()
    vector = rows.filter(task_key=sha256(0))["embedding"][0].to_list()
    by_hash = changed(changed(rows, 0, phash="0f0f0f0f0f0f0f0f"), 1, phash="0f0f0f0f0f0f0f0e")
    found = told(by_hash)
    assert {(row[0], row[1], row[3]) for row in found} == {
        (sha256(0), "duplicates_disagree", "dog"),
        (sha256(1), "duplicates_disagree", "cat"),
    }
    by_embedding = changed(rows, 1, embedding=vector)
    assert {row[0] for row in told(by_embedding)} == {sha256(0), sha256(1)}


def test_of_copies_the_one_with_the_settled_label_is_no_suspect():
    rows = changed(changed(items(), 0, phash="0f0f0f0f0f0f0f0f", is_settled=True), 1, phash="0f0f0f0f0f0f0f0f")
    assert [(row[0], row[3]) for row in told(rows)] == [(sha256(1), "cat")]


def test_copies_are_never_evidence_for_each_other():
    """Six photos of one wrong label, all copies of one another: only others may judge them."""
    rows = items()
    for number in (0, 3, 6, 9, 12, 15):
        rows = changed(rows, number, given="dog", phash="0f0f0f0f0f0f0f0f")
    assert {row[0] for row in told(rows)} == {sha256(number) for number in (0, 3, 6, 9, 12, 15)}


def test_a_photo_like_no_other_is_out_of_distribution():
    far = np.random.default_rng(9).normal(size=24) * 30
    rows = changed(items(), 5, embedding=far.astype(np.float32).tolist())
    found = suspects(rows).filter(pl.col("why").str.contains("nearest photos"))
    assert found["task_key"].to_list() == [sha256(5)]


def test_what_the_campaigns_model_proposes_counts_where_embeddings_tell_nothing():
    random = np.random.default_rng(0)
    rows = items(300)
    noise = pl.Series(random.normal(size=(300, 24)).astype(np.float32).tolist(), dtype=pl.List(pl.Float32))
    rows = rows.with_columns(embedding=noise, proposal="given", proposal_probability=pl.lit(0.95))
    rows = changed(rows, 3, given="fox")
    assert suspects(rows).head(1).select("task_key", "suggested").rows() == [(sha256(3), "cat")]


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_few_items_are_no_fault(count):
    assert told(items(count)) == []


def test_one_class_and_a_class_of_one_item_are_no_fault_and_no_error():
    assert told(items().with_columns(given=pl.lit("cat"))) == []
    assert told(changed(items(), 3, given="a class of its own")) == []


def test_as_many_classes_as_items_cost_nothing_and_say_nothing():
    assert told(items(2_000).with_columns(given=pl.format("class {}", pl.int_range(pl.len())))) == []


def test_embeddings_that_are_null_ragged_not_finite_or_of_another_model_are_left_out():
    rows = items()
    rows = changed(rows, 0, embedding=None)
    rows = changed(rows, 1, embedding=[float("nan")] * 24)
    rows = changed(rows, 2, embedding=[1.0])
    rows = changed(rows, 3, embedding=[])
    rows = changed(rows, 4, model_id="another")
    rows = changed(rows, 5, embedding=[float("inf")] * 24)
    known, vectors = embedded(rows)
    assert vectors.shape == (144, 24)
    assert not set(known["task_key"]) & {sha256(number) for number in range(6)}
    assert told(rows) == []
    assert told(rows.with_columns(embedding=pl.lit(None, pl.List(pl.Float32)))) == []


def test_equal_embeddings_of_all_are_no_fault():
    same = pl.lit(pl.Series([[1.0] * 24], dtype=pl.List(pl.Float32))).first()
    assert {row[1] for row in told(items().with_columns(embedding=same))} <= {"duplicates_disagree"}


def test_the_order_of_items_changes_nothing():
    rows = changed(changed(items(), 3, given="dog"), 7, given="fox")
    ordered = rows.sort("sha256")
    assert_frame_equal(suspects(ordered), suspects(ordered.reverse().sort("sha256")))


def test_the_nearest_are_exact_and_never_of_the_same_family():
    random = np.random.default_rng(0)
    unit = directions(random.normal(size=(60, 12)).astype(np.float32))
    family = np.arange(60) // 3
    found = nearest(unit, family, 5)
    alike = unit @ unit.T
    alike[family[:, None] == family] = -np.inf
    assert np.array_equal(found.rows, np.argsort(-alike, axis=1, kind="stable")[:, :5])
    assert np.isneginf(nearest(unit[:3], family[:3], 2).similarity).all()


def test_families_join_over_others():
    unit = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [-1, 0]], np.float32)
    found = families(unit, np.array([0, 1, 2, 1, 3]), 0.99)
    assert len(np.unique(found[:4])) == 1
    assert found[4] != found[0]


def test_probabilities_sum_to_one_and_follow_neighbours():
    rows = items()
    _, vectors = embedded(rows)
    labels = rows["given"].cast(pl.Enum(CLASSES)).to_physical().to_numpy().astype(np.int64)
    found = probabilities(labels, 3, nearest(directions(vectors), np.arange(150), 40))
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == labels).all()


def test_the_condition_selects_the_worst_suspects_and_quotes_keys():
    found = suspects(changed(changed(items(), 3, given="dog"), 7, given="fox"))
    odd = found.with_columns(key=pl.format("it's {}", "key"))
    frame = pl.concat([odd, odd.with_columns(key=pl.lit("another"))])
    assert frame.filter(pl.sql_expr(where(odd)))["key"].to_list() == odd["key"].to_list()
    assert where(odd, characters=60).count(",") == 0
    assert where(odd.clear()) == ""


def test_families_are_joined_over_blocks_and_chains():
    angles = np.arange(0, 2.5, 0.001)
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    apart = np.array([[-1, 0], [0, -1], [0, -1]], np.float32)
    order = np.random.default_rng(0).permutation(len(chain) + 3)
    unit, family = np.concatenate([chain, apart])[order], np.arange(len(order))
    found = families(unit, family, 0.99999)
    of = np.empty(len(order), int)
    of[order] = found
    assert len(set(of[:-3])) == 1
    assert of[-1] == of[-2] != of[-3] != of[0]
    assert set(found) == {0, 1, 2}
    family[order.argmin()] = family[order.argmax()]  # of one family already: the chain and the last of the others
    assert set(families(unit, family, 0.99999)) == {0, 1}


def test_thousands_of_equal_photos_are_one_family_and_their_pairs_are_never_in_memory():
    unit = np.ones((3_000, 1), np.float32)
    tracemalloc.start()
    found = families(unit, np.arange(3_000), 0.98)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not found.any()
    assert peak < 3_000**2 * 5  # a pair took 33 bytes
