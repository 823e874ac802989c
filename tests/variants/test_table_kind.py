"""Tables as a kind: the contract, the mask's truth, determinism, what is refused."""

import io
import json
from hashlib import sha256

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

from pipeline_assets.errors import BadRecipe, UnfitParent
from pipeline_assets.variants.kinds import Kind, Made, Parent, Task
from pipeline_assets.variants.recipes import Recipe, seed_of, variant_id
from pipeline_assets.variants.tables import COLUMNS, KIND, frames
from pipeline_assets.variants.tables.frames import MAX_CELLS, read_table, write_table
from tests.variants.table_frames import KEYS, users

pytestmark = pytest.mark.slow

RECIPES = {name: KIND.complete(recipe) for name, recipe in KIND.recipes.items()}


def parent(frame, labels=None):
    data = frame if isinstance(frame, bytes) else write_table(frame)
    return Parent(sha256(data).hexdigest(), data, {"keys": KEYS} if labels is None else labels)


def work(parent, recipe, number=0):
    seed = seed_of((parent.sha256,), recipe, 1, number)
    return Task(variant_id((parent.sha256,), recipe, seed), (parent.sha256,), recipe, seed), (parent,)


def made(frame, recipe, labels=None):
    ((_, outcome),) = KIND.make([work(parent(frame, labels), KIND.complete(recipe))])
    return outcome


@pytest.fixture(scope="module")
def outcomes():
    one = parent(users())
    return {
        name: outcome
        for name, (_, outcome) in zip(RECIPES, KIND.make([work(one, r) for r in RECIPES.values()]), strict=True)
    }


def test_it_keeps_the_contract(outcomes):
    kind: Kind = KIND
    assert kind.name == "tables"
    for outcome in outcomes.values():
        assert set(outcome.columns) == set(COLUMNS.columns())
        assert KIND.problems(outcome) == []
        assert outcome.labels == {"keys": KEYS}
        assert set(outcome.extra_contents) == ({"mask_sha256"} if outcome.columns["cells_deleted"] else set())
        assert isinstance(json.loads(outcome.columns["report_json"]), list)


def test_the_mask_is_the_truth():
    frame = users()
    outcome = made(frame, Recipe("delete_mcar", share=0.2))
    variant, mask = read_table(outcome.data), read_table(outcome.extra_contents["mask_sha256"])
    assert sha256(outcome.extra_contents["mask_sha256"]).hexdigest() == outcome.columns["mask_sha256"]
    assert int(mask.sum().transpose().sum().item()) == outcome.columns["cells_deleted"] > 0
    restored = variant.with_columns(
        pl.when(mask[name]).then(frame[name]).otherwise(variant[name]).alias(name) for name in mask.columns
    )
    assert_frame_equal(restored, frame)


def test_a_deleted_cell_is_gone_from_the_bytes():
    frame = pl.DataFrame({"secret": [f"only here {n:06}" for n in range(200)]})
    outcome = made(frame, Recipe("delete_mcar", share=0.95), {})
    mask = read_table(outcome.extra_contents["mask_sha256"])["secret"]
    plain = pq.read_table(pa.BufferReader(outcome.data))["secret"].combine_chunks()
    held = b"".join(bytes(buffer) for buffer in plain.buffers() if buffer)
    assert mask.sum() > 150
    assert not any(text.encode() in held for text in frame["secret"].filter(mask))


@pytest.mark.parametrize("name", RECIPES)
def test_columns_may_have_any_other_name(name):
    odd = {
        "": "score",
        "count": "country",
        "len": "logins",
        "value": "plan",
        "row_": "posts",
        "x'\"\n": "mean",
        "$": "is_new",
    }
    frame = users(200).select(pl.col(old).alias(new) for new, old in odd.items())
    outcome = made(frame, RECIPES[name], {})
    assert KIND.problems(outcome) == []
    assert read_table(outcome.data).schema == frame.schema


def test_deletions_of_several_steps_add_up():
    outcome = made(users(), Recipe("delete_mcar", share=0.2).then(Recipe("delete_mnar", share=0.2), Recipe("jitter")))
    assert KIND.problems(outcome) == []
    assert outcome.columns["cells_deleted"] == pytest.approx(600 * 8 * 0.36, rel=0.2)
    assert [step["operation"] for step in json.loads(outcome.columns["report_json"])] == [
        "delete_mcar",
        "delete_mnar",
        "jitter",
    ]


def test_new_rows_forget_what_was_deleted_before():
    outcome = made(users(), Recipe("delete_mcar").then(Recipe("synthesize")))
    assert outcome.columns["cells_deleted"] == 0 and not outcome.extra_contents
    assert made(users(), Recipe("synthesize", rows=50).then(Recipe("delete_mcar"))).columns["rows"] == 50


def test_a_variant_depends_on_nothing_but_its_task(outcomes):
    ones, others = parent(users()), parent(users(seed=2))
    works = [work(p, recipe) for recipe in reversed(RECIPES.values()) for p in (others, ones)]
    again = {(task.recipe, task.parents): outcome for task, outcome in KIND.make(works)}
    for name, outcome in outcomes.items():
        found = again[RECIPES[name], (ones.sha256,)]
        assert (found.data, found.extra_contents, found.columns) == (
            outcome.data,
            outcome.extra_contents,
            outcome.columns,
        ), name


def test_threads_change_nothing(tmp_path, outcomes):
    """Another process with one thread of polars and of BLAS makes the same bytes."""
    import subprocess
    import sys

    code = (
        "import sys; from tests.variants.test_table_kind import *\n"
        "one = parent(users())\n"
        "print(json.dumps({n: sha256(o.data).hexdigest() for n, (_, o) in"
        " zip(RECIPES, KIND.make([work(one, r) for r in RECIPES.values()]))}))"
    )
    threads = {"POLARS_MAX_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": "", "PYTHONPATH": "."}
    found = subprocess.run([sys.executable, "-c", code], env=threads, capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == {name: sha256(outcome.data).hexdigest() for name, outcome in outcomes.items()}


def test_equal_frames_have_equal_bytes():
    frame = users()
    parts = pl.concat([frame[:100], frame[100:]], rechunk=False)
    hidden = frame.with_columns(pl.when(pl.col("posts") > 0).then("score").alias("score"))
    apparent = frame.with_columns(pl.when(pl.col("posts") > 0).then(pl.col("score")).otherwise(None).alias("score"))
    assert write_table(frame) == write_table(parts) == write_table(read_table(write_table(frame)))
    assert write_table(hidden) == write_table(
        apparent.with_columns(pl.col("score").fill_null(7.0)).with_columns(hidden["score"])
    )
    assert_frame_equal(read_table(write_table(frame)), frame)


def bomb(rows):
    """Little Parquet that unpacks to many cells."""
    written = io.BytesIO()
    with pq.ParquetWriter(written, pa.schema({"x": pa.int64()})) as writer:
        batch = pa.table({"x": pa.array(np.zeros(1 << 20, dtype=np.int64))})
        for _ in range(rows >> 20):
            writer.write_table(batch)
    return written.getvalue()


@pytest.mark.parametrize(
    ("data", "labels", "reason"),
    [
        (b"", {}, "undecodable"),
        (b"PAR1", {}, "undecodable"),
        (b"not a table at all", {}, "undecodable"),
        (b"PAR1" + b"\x00" * 100 + b"PAR1", {}, "undecodable"),
        (write_table(users(20))[:-40], {}, "undecodable"),
        (write_table(users(20)).replace(b"PAR1", b"PAR2"), {}, "undecodable"),
        (write_table(pl.DataFrame({"x": []})), {}, "empty"),
        (write_table(pl.DataFrame({"user_id": [1, 2]})), {"keys": ["user_id"]}, "no_columns"),
        (write_table(pl.DataFrame({"x": [None, None]})), {}, "unchanged"),
        (write_table(pl.DataFrame({"x": [1], "*": [2]})), {}, "unsupported_columns"),
        (write_table(pl.DataFrame({"^x$": [1]})), {}, "unsupported_columns"),
        (write_table(pl.DataFrame({"x": [1]})), {"keys": ["y"]}, "bad_labels"),
        (write_table(pl.DataFrame({"x": [1]})), {"keys": "x"}, "bad_labels"),
    ],
)
def test_a_table_that_nothing_can_be_made_of_has_its_reason_and_harms_no_neighbour(data, labels, reason):
    recipe = RECIPES["missing_completely_at_random"]
    works = [work(parent(users()), recipe), work(parent(data, labels), recipe), work(parent(users()), recipe)]
    first, bad, last = (outcome for _, outcome in KIND.make(works))
    assert isinstance(bad, UnfitParent) and bad.reason == reason and bad.detail
    assert first.data == last.data


def test_damage_in_the_middle_of_a_file_is_a_reason_too():
    good = write_table(users(2000))
    recipe = RECIPES["jittered"]
    for at in range(10, len(good) - 10, len(good) // 40):
        data = good[:at] + bytes(b ^ 0xFF for b in good[at : at + 8]) + good[at + 8 :]
        ((_, outcome),) = KIND.make([work(parent(data), recipe)])
        assert isinstance(outcome, Made) or outcome.reason in {"undecodable", "too_large", "bad_labels"}


def test_many_cells_in_few_bytes_are_refused_before_they_are_unpacked():
    small = bomb(rows=MAX_CELLS + (1 << 21))
    assert len(small) < 1_000_000
    with pytest.raises(UnfitParent, match="too_large"):
        read_table(small)


def test_a_parent_may_lie_in_a_file(tmp_path, monkeypatch):
    held = parent(users())
    path = tmp_path / "users.parquet"
    path.write_bytes(held.data)
    task, _ = work(held, RECIPES["jittered"])
    here, there, nowhere = (
        outcome
        for _, outcome in KIND.make(
            [(task, (Parent(held.sha256, d, held.labels),)) for d in (held.data, path, tmp_path / "no")]
        )
    )
    assert here.data == there.data
    assert nowhere.reason == "undecodable"
    monkeypatch.setattr(frames, "MAX_BYTES", 100)
    with pytest.raises(UnfitParent, match="too_large"):
        read_table(path)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("synonyms"),
        Recipe("delete_mcar", share=0),
        Recipe("delete_mcar", share=1.0),
        Recipe("delete_mnar", share=0.6),
        Recipe("delete_mar", strength=2),
        Recipe("jitter", scale=-1),
        Recipe("synthesize", rows=-1),
        Recipe("synthesize", rare=0),
        Recipe("swap_categories", columns="country"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(recipe):
    with pytest.raises(BadRecipe):
        KIND.complete(recipe)


def test_the_contact_sheet_shows_every_variant_of_every_table(outcomes):
    one, narrow = parent(users()), parent(pl.DataFrame({"x": [1.0, 2.0, 3.0] * 10}), {})
    shown = [
        (one, [(work(one, RECIPES[name])[0], outcome) for name, outcome in outcomes.items()]),
        (narrow, [(task, m) for task, m in KIND.make([work(narrow, r) for r in RECIPES.values()]) if isinstance(m, Made)]),
        (narrow, []),
    ]
    with Image.open(io.BytesIO(KIND.contact_sheet(shown))) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000


def test_problems_are_told(outcomes):
    good = outcomes["missing_completely_at_random"]
    mask = read_table(good.extra_contents["mask_sha256"])

    def of(**changes):
        return KIND.problems(Made(**{**vars(good), **changes}))

    assert of(columns={**good.columns, "rows": 7}) == ["600 rows, and the column says 7"]
    assert len(of(columns={**good.columns, "cells_deleted": 7})) == 1
    assert of(labels={"keys": ["gone"]}) == ["the key gone is no column"]
    assert of(extra_contents={"mask_sha256": write_table(mask[:10])}) == ["the mask's shape is not the table's"]
    assert "not null" in of(extra_contents={"mask_sha256": write_table(mask.with_columns(score=True))})[0]
    copied = json.dumps([{"operation": "synthesize", "rows_copied": 3}])
    assert of(columns={**good.columns, "report_json": copied}) == ["3 synthetic rows are real ones"]


ROWS = 256
EXTREMES = {
    "int64's ends": pl.Series(np.array([2**63 - 1, -(2**63)] * (ROWS // 2))),
    "near int64's ends": pl.Series(np.array([2**63 - 1 - n if n % 2 else n - 2**63 for n in range(ROWS)])),
    "uint64's end": pl.Series(np.array([2**64 - 1 - n for n in range(ROWS)], dtype=np.uint64)),
    "float64's ends": pl.Series([1e308, -1e308] * (ROWS // 2)),
    "near float64's ends": pl.Series(np.random.default_rng(0).uniform(-1, 1, ROWS) * 1.7e308),
    "the least floats": pl.Series([5e-324 * n for n in range(ROWS)]),
    "float32's ends": pl.Series(np.random.default_rng(0).uniform(-3.4e38, 3.4e38, ROWS)).cast(pl.Float32),
    "all of int8": pl.Series(np.arange(-128, 128, dtype=np.int8)),
    "all of uint8": pl.Series(np.arange(256, dtype=np.uint8)),
    "int128": pl.Series([2**120 - n for n in range(ROWS)], dtype=pl.Int128),
    "decimals": pl.Series([n / 4 for n in range(ROWS)]).cast(pl.Decimal(20, 2)),
    "the first dates": pl.Series(np.arange(-(2**31), ROWS - 2**31, dtype=np.int32)).cast(pl.Date),
    "the last times": pl.Series([2**63 - 1 - n for n in range(ROWS)]).cast(pl.Datetime("us")),
    "the least durations": pl.Series(np.arange(-(2**63), ROWS - 2**63)).cast(pl.Duration("ns")),
    "infinity alone": pl.Series([float("inf")] * ROWS),
    "bytes": pl.Series([bytes([n]) for n in range(ROWS)]),
    "lists": pl.Series([[n] for n in range(ROWS)]),
    "objects": pl.Series([{"a": n} for n in range(ROWS)]),
}


@pytest.mark.parametrize("keys", [[], ["odd"]], ids=["no key", "its key"])
@pytest.mark.parametrize("name", EXTREMES)
def test_a_table_of_extreme_values_is_made_or_refused_and_stops_no_other(name, keys):
    odd = parent(
        pl.DataFrame({"odd": EXTREMES[name], "x": np.random.default_rng(0).normal(size=ROWS)}), labels={"keys": keys}
    )
    others = [work(odd, recipe) for recipe in RECIPES.values()]
    outcomes = [outcome for _, outcome in KIND.make([*others, work(parent(users()), RECIPES["jittered"])])]
    assert isinstance(outcomes[-1], Made)
    for outcome in outcomes[:-1]:
        assert isinstance(outcome, UnfitParent) or KIND.problems(outcome) == []
