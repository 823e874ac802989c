"""Where photos are on the map: a fixed reference, and when it is replaced."""

import numpy as np
import pytest

from pipeline_assets.exploration.map import layout, reference
from pipeline_assets.exploration.map.neighbours import unit_vectors
from pipeline_assets.exploration.map.reference import Photos


def blobs(count: int, centres: int = 4, seed: int = 0, width: int = 20):
    """Unit vectors around some centres, and the number of each one's centre."""
    random = np.random.default_rng(seed)
    label = random.integers(0, centres, count)
    return unit_vectors(np.eye(width)[label] + 0.1 * random.standard_normal((count, width))), label


def photos(vectors, arrived) -> Photos:
    return Photos(
        "m", [f"{number:064x}" for number in range(len(vectors))], np.arange(len(vectors)), np.array(arrived), vectors
    )


@pytest.mark.slow
def test_groups_stay_together_on_the_plane_and_are_the_clusters():
    vectors, label = blobs(300)
    places = layout.places(vectors)
    assert np.abs(places).max() == 1
    clusters = layout.clusters(places)
    assert clusters.max() >= 3
    for cluster in range(clusters.max() + 1):
        assert len(set(label[clusters == cluster])) == 1
    sizes = np.bincount(clusters[clusters >= 0])
    assert (np.diff(sizes) <= 0).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_few_photos_and_photos_that_are_all_the_same_have_places(count):
    for vectors in (blobs(count)[0], unit_vectors(np.ones((count, 5)))):
        places = layout.places(vectors)
        assert places.shape == (count, 2)
        assert np.isfinite(places).all()
        assert np.abs(places).max(initial=0) <= 1
        assert layout.clusters(places).tolist() == [-1] * count


def test_a_new_photo_lands_among_its_like_and_one_that_is_unlike_all_is_in_no_cluster():
    vectors, label = blobs(200)
    strange = unit_vectors(np.full((1, 20), 1.0) * np.where(np.arange(20) < 4, -1, 1))
    everything = np.concatenate([vectors, blobs(50, seed=1)[0], strange])
    labels = np.concatenate([label, blobs(50, seed=1)[1]])
    landmarks = np.arange(200)
    places = layout.places(vectors)
    clusters = layout.clusters(places)
    placed = reference.place(photos(everything, [0] * 251), landmarks, places, clusters)
    assert (placed.places[:200] == places).all()
    for number in range(200, 250):
        distance = ((placed.places[:200] - placed.places[number]) ** 2).sum(axis=1)
        assert label[distance.argmin()] == labels[number]
    assert placed.clusters[250] == -1
    assert placed.fit[250] < placed.fit[:250].min()


def test_a_reference_stays_while_later_photos_are_like_it_and_is_replaced_when_they_are_not(monkeypatch):
    monkeypatch.setattr(reference, "LANDMARKS", 100)
    alike, _ = blobs(400)
    of_days = np.repeat(np.arange(4), 100)
    kept = reference.choose(photos(alike, of_days), None, lambda _: None)
    assert (kept.until, kept.reason, len(kept.landmarks)) == (0, "the first photos", 100)
    unlike = unit_vectors(np.concatenate([np.zeros((100, 10)), np.eye(10)[np.arange(100) % 10]], axis=1) + 0.01)
    changed = reference.choose(photos(np.concatenate([alike[:300], unlike]), of_days), None, lambda _: None)
    assert changed.until == 3
    assert "of the last 300 photos are unlike all landmarks" in changed.reason


def test_a_reference_of_few_photos_is_replaced_as_they_become_many_and_the_steps_do_not_count():
    vectors, _ = blobs(160)
    everything = photos(vectors, np.repeat(np.arange(16), 10))
    once = reference.choose(everything, None, lambda _: None)
    assert once.until == 15
    assert once.reason == "160 photos instead of 40"
    for since in (0, 3, 15):
        again = reference.choose(everything, since, lambda _: None)
        assert again.landmarks.tolist() == once.landmarks.tolist()
    fit = reference.place(everything, once.landmarks, vectors[once.landmarks, :2], np.zeros(160, np.int32)).fit
    assert reference.choose(everything, None, lambda some: fit if len(some) == 160 else None).until == 15
