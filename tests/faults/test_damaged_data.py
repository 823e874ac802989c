"""Damaged or hostile data: objects whose bytes are not those of their hash, half a log file, models that would run code."""

import gzip
import io
import pickle
import zipfile
from pathlib import Path

import polars as pl
import pytest
from fault_proxy import Fault, FaultProxy, FlipByte
from polars.testing import assert_frame_equal
from world import World

from pipeline_assets.classify.model_files import Preprocessing
from pipeline_assets.classify.models import load_classifier
from pipeline_assets.errors import ModelUnusable
from pipeline_assets.nightly.calendars import ASSETS
from pipeline_assets.training.model import prediction
from resources.errors import CorruptObject
from resources.objects.store import content_key

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated"),
    pytest.mark.filterwarnings("ignore:Asset job .* materializes assets with varying BackfillPolicies"),
]


def test_a_photo_whose_bytes_are_not_those_of_its_hash_is_set_aside_and_its_neighbours_are_classified(
    world: World, computed: World, proxy: FaultProxy
) -> None:
    world.uncompute("photo_classes", "photo_styles")
    world.postgres.execute("delete from results")
    damaged = world.lake.scan("raw_uploads").filter(pl.col("verdict") == "ok").sort("key").first().collect()
    key = damaged["key"].item()
    with proxy.faulty(Fault(FlipByte(), f"/{key}", "GET", times=None)) as met:
        assert world.execute("photo_classes", "photo_styles") == {}
        assert all(met())
    for name in ("photo_classes", "photo_styles"):
        aside = world.lake.scan(f"{name}_rejected").collect()
        assert aside["reason"].to_list() == ["corrupt"]
        assert aside["source"].item().startswith(key)
        assert "restore the object" in aside["detail"].item()
        neighbours = computed.rows(name).filter(pl.col("sha256") != damaged["sha256"].item())
        assert_frame_equal(world.rows(name), neighbours, check_exact=False, rel_tol=1e-4)


@pytest.mark.parametrize("damage", ["other bytes", "gone"])
def test_a_damaged_chunk_of_results_is_computed_anew(world: World, computed: World, damage: str) -> None:
    world.uncompute("photo_styles")
    (chunk,) = world.postgres.read("select distinct chunk from results where kind like 'styles%'")["chunk"]
    if damage == "gone":
        world.objects.delete(content_key(chunk))
    else:
        world.objects.put(content_key(chunk), b"other bytes")
    assert world.execute("photo_styles") == {}
    assert_frame_equal(world.rows("photo_styles"), computed.rows("photo_styles"))
    for (kept,) in world.postgres.read("select distinct chunk from results").iter_rows():
        assert world.objects.get_content(kept)


def test_half_a_log_file_gives_the_lines_before_the_cut_and_the_whole_file_replaces_them(
    world: World, computed: World
) -> None:
    key, whole = next(
        (info.key, world.lake_bucket.get(info.key)) for info in world.lake_bucket.list("events/") if info.size > 5_000
    )
    world.lake_bucket.put(key, whole[: len(whole) // 2])
    assert world.execute("event_log") == {}
    aside = world.lake.scan("event_log_rejected").filter(pl.col("reason") == "damaged_gzip").collect()
    assert aside["source"].to_list() == [key]
    day = aside["day"].item()
    some, all_of_it = (w.rows("event_log").filter(pl.col("day") == day) for w in (world, computed))
    assert 0 < some.height < all_of_it.height == gzip.decompress(whole).count(b"\n") - lines_aside(computed, key)
    assert some.join(all_of_it, on=some.columns, how="anti", nulls_equal=True).is_empty()
    world.lake_bucket.put(key, whole)
    assert world.execute("event_log") == {}
    assert_frame_equal(world.rows("event_log"), computed.rows("event_log"))
    assert lines_aside(world, key) == lines_aside(computed, key)


def lines_aside(world: World, key: str) -> int:
    """How many of a log file's lines are set aside."""
    rejected = world.lake.scan("event_log_rejected").filter(pl.col("source").str.starts_with(key)).collect()
    return rejected.height


class Payload:
    """Unpickled anywhere, it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, (f"touch {self.proof}",)


def hostile_archive(proof: Path) -> bytes:
    """A `.pt2` whose sample inputs and weights are pickles that run a command."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/archive_format", "pt2")
        archive.writestr("model/data/sample_inputs/model.pt", pickle.dumps(Payload(proof)))
        archive.writestr("model/data.pkl", pickle.dumps(Payload(proof)))
        archive.writestr("model/models/model.json", "{}")
    return buffer.getvalue()


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """The file that a payload makes: proof that it ran."""
    return tmp_path / "ran"


def model_folder(folder: Path, weights: bytes) -> Path:
    """A classifier as a user gives one, with these bytes for its weights."""
    folder.mkdir()
    (folder / "model.pt2").write_bytes(weights)
    (folder / "classes.csv").write_text("index,name\n0,cat\n1,dog\n")
    (folder / "preprocessing.json").write_text(Preprocessing().to_json())
    return folder


def test_the_payloads_of_these_tests_do_run_where_they_are_unpickled(proof: Path) -> None:
    pickle.loads(pickle.dumps(Payload(proof)))  # noqa: S301  that is the point
    assert proof.exists()


@pytest.mark.parametrize("form", ["pickle", "archive"])
def test_a_malicious_model_file_is_refused_and_its_payload_does_not_run(tmp_path: Path, proof: Path, form: str) -> None:
    weights = pickle.dumps(Payload(proof)) if form == "pickle" else hostile_archive(proof)
    folder = model_folder(tmp_path / "evil", weights)
    with pytest.raises(ModelUnusable):
        load_classifier(str(folder))
    assert not proof.exists()


def test_a_run_with_a_malicious_model_fails_and_leaves_the_tables_as_they_were(
    world: World, computed: World, tmp_path: Path, proof: Path
) -> None:
    said = world.run(DARKROOM_MODEL=str(model_folder(tmp_path / "evil", hostile_archive(proof))))
    assert said.status == 1
    assert "photo_classes failed: ModelUnusable: " in said.output
    assert not proof.exists()
    for name in ASSETS:
        assert_frame_equal(world.rows(name), computed.rows(name))
    assert world.current() == computed.current()


def test_weights_replaced_in_the_object_store_are_refused_and_their_payload_does_not_run(world: World, proof: Path) -> None:
    (sha256,) = world.rows("popularity_model")["weights_sha256"]
    objects, hostile = world.objects, pickle.dumps(Payload(proof))
    assert prediction.load(objects.get_content(sha256)).model_id
    objects.put(content_key(sha256), hostile)
    with pytest.raises(CorruptObject, match="The stored object is damaged"):
        objects.get_content(sha256)
    with pytest.raises(ModelUnusable, match="fetch them again by their sha256"):
        prediction.load(hostile)
    assert not proof.exists()
