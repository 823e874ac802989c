"""Vectors in files, and the search for one photo among them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.exploration.map import codes, embeddings, nearest, neighbours
from pipeline_assets.exploration.map.embeddings import View


def names(count: int) -> list[str]:
    return [f"{number * 2654435761 % 2**32:064x}" for number in range(count)]


class Source:
    """Embeddings by sha256, and how many were read."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.read_rows = dict(zip(names(len(rows)), rows.tolist(), strict=True)), 0

    def read(self, missing):
        self.read_rows += len(missing)
        for start in range(0, len(missing), 40):
            part = missing[start : start + 40]
            yield pl.DataFrame(
                {"sha256": part, "embedding": [self.rows[name] for name in part]},
                schema={"sha256": pl.String, "embedding": pl.List(pl.Float32)},
            )

    def synced(self, folder: Path, count: int) -> View:
        wanted = pl.Series("sha256", names(count))
        return embeddings.synced(folder, wanted, self.read, lambda: wanted)


@pytest.fixture
def source(monkeypatch) -> Source:
    monkeypatch.setattr(codes, "HEAD", 8)
    rows = np.random.default_rng(0).standard_normal((200, 30)).astype(np.float32)
    rows[5], rows[6, 0] = 0, np.nan
    return Source(rows)


def test_only_what_is_missing_is_read_and_what_is_not_wanted_any_more_is_gone(source: Source, tmp_path: Path):
    assert len(source.synced(tmp_path, 100).sha256) == 100
    view = source.synced(tmp_path, 200)
    assert source.read_rows == 200
    rows = view.rows_of(pl.Series(names(200)))
    expected = neighbours.unit_vectors(np.array(source.rows[names(200)[7]])[None, :])[0]
    assert (view.vectors[rows[7]] == expected).all()
    assert np.flatnonzero(~view.is_usable(rows)).tolist() == [5, 6]
    fewer = source.synced(tmp_path, 50)
    assert sorted(fewer.sha256) == sorted(names(50))
    assert source.read_rows == 200
    assert (fewer.vectors[fewer.rows_of(pl.Series(names(8)))[7]] == expected).all()
    assert sum(path.stat().st_size for path in tmp_path.glob("vectors-*")) == 50 * 30 * 4
    with pytest.raises(KeyError):
        fewer.rows_of(pl.Series(names(200)))


@pytest.mark.parametrize("kind", ["names", "vectors", "heads", "rests", "lengths", "basis"])
@pytest.mark.parametrize("damage", ["shorter", "whole row less", "zeros", "other", "gone", "state"])
def test_damaged_files_are_made_again(source: Source, tmp_path: Path, kind: str, damage: str):
    view = source.synced(tmp_path, 100)
    before, basis = np.array(view.vectors), view.basis
    [path] = tmp_path.glob(f"{kind}-*")
    if damage == "shorter":
        path.write_bytes(path.read_bytes()[:-4])
    elif damage == "whole row less":
        path.write_bytes(path.read_bytes()[: -4 * 30])
    elif damage == "zeros":
        path.write_bytes(bytes(path.stat().st_size))
    elif damage == "other":
        path.write_bytes(b"\1" + path.read_bytes()[1:])
    elif damage == "gone":
        path.unlink()
    else:
        (tmp_path / embeddings.STATE).write_text("{")
    again = source.synced(tmp_path, 100)
    assert source.read_rows == 200
    assert (again.vectors[again.rows_of(view.sha256)] == before).all()
    assert (again.basis == basis).all()


class Killed(BaseException):
    """Instead of the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize(("killed", "after", "erased"), [(90, 90, 99), (110, 100, 105)])
def test_a_kill_at_any_step_leaves_nothing_of_an_erased_photo(source, tmp_path, killed, after, erased):
    left = 0

    def or_killed(do):
        def counted(*words, **named):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return do(*words, **named)

        return counted

    vector = neighbours.unit_vectors(np.array(source.rows[names(200)[erased]])[None, :]).tobytes()
    for step in range(200):
        folder = tmp_path / str(step)
        source.synced(folder, 100)
        assert (vector in b"".join(path.read_bytes() for path in folder.iterdir())) == (erased < 100)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embeddings, "BASIS_FROM", 40)
            for name in ("open", "replace", "unlink"):
                patch.setattr(Path, name, or_killed(getattr(Path, name)))
            left = step
            try:
                source.synced(folder, killed)
                break
            except Killed:
                left = 10**6
        view = source.synced(folder, after)
        assert sorted(view.sha256) == sorted(names(after))
        assert vector not in b"".join(path.read_bytes() for path in folder.iterdir())
        assert len(list(folder.glob("*-*"))) == 6
    assert 5 < step < 199


def test_a_write_that_was_killed_leaves_what_was_there(source: Source, tmp_path: Path):
    source.synced(tmp_path, 100)
    state = (tmp_path / embeddings.STATE).read_text()
    source.synced(tmp_path, 200)
    (tmp_path / embeddings.STATE).write_text(state)
    view = source.synced(tmp_path, 200)
    assert source.read_rows == 300
    assert sorted(view.sha256) == sorted(names(200))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 80),
    width=st.integers(1, 70),
    k=st.integers(1, 12),
    dense=st.sampled_from([0.0, 0.3, 1.0]),
    spread=st.sampled_from([0.0, 1e-3, 1e-2, 1.0]),
)
def test_the_search_finds_what_reading_all_vectors_finds(seed, count, width, k, dense, spread):
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((5, width))[random.integers(0, 5, count)] + spread * random.random((count, width))
    vectors = neighbours.unit_vectors(vectors)
    vectors[random.random(count) < 0.1] = 0
    query = neighbours.unit_vectors(random.standard_normal((1, width)))[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "HEAD", 8)
        patch.setattr(codes, "PASS", 16)
        patch.setattr(codes, "DENSE", dense)
        patch.setattr(nearest, "STEP", 7)
        patch.setattr(nearest, "SAMPLE", 11)
        basis = codes.main_basis(vectors[: random.integers(1, count + 1)], width)
        view = View(pl.Series(names(count)), vectors, codes.coded(vectors, basis), basis)
        rows, similarity = nearest.nearest_to(view, query, k, np.array([0]))
    exact = neighbours.similarity(vectors, query)
    order = sorted(1 + np.flatnonzero(vectors[1:].any(axis=1)), key=lambda row: (-exact[row], view.sha256[int(row)]))[:k]
    assert rows.tolist() == order
    assert similarity.tolist() == exact[order].tolist()


@pytest.mark.parametrize("kind", ["of clusters", "of one length", "along axes", "nearly equal", "opposite"])
def test_no_similarity_exceeds_its_bounds_and_whole_codes_bound_it_closely(kind: str):
    random = np.random.default_rng(0)
    rows = random.standard_normal((500, 640))
    rows = {
        "of clusters": rows[random.integers(0, 9, 500)] + 0.3 * rows,
        "of one length": np.sign(rows),
        "along axes": np.eye(640)[random.integers(0, 640, 500)] + 1e-4 * rows,
        "nearly equal": 1 + 1e-6 * rows,
        "opposite": rows[:1] * np.sign(rows[:, :1]),
    }[kind]
    vectors = neighbours.unit_vectors(rows)
    basis = codes.main_basis(vectors[:300], 640)
    everything, of_all = np.arange(500), codes.coded(vectors, basis)
    for query in vectors[::50]:
        exact = neighbours.similarity(vectors, query).astype(np.float64)
        asked = codes.Query(query, basis)
        closer = asked.closer_bounds(of_all, everything)
        assert (asked.bounds(of_all) >= exact).all()
        assert (closer >= exact).all()
        assert (closer - exact).max() < 0.05
        assert asked.closer_bounds(of_all, everything[::7]).tolist() == pytest.approx(closer[::7].tolist(), abs=1e-5)


def test_no_vectors_have_no_nearest(source: Source, tmp_path: Path):
    view = source.synced(tmp_path, 0)
    rows, similarity = nearest.nearest_to(view, np.ones(1, np.float32), 3, np.zeros(0, np.int64))
    assert (rows.tolist(), similarity.tolist()) == ([], [])
