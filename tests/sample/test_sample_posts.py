import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline_assets.sample.posts import MAX_NAME_BYTES, details, locations, safe_names, titles

AWKWARD = st.text(". /\\%-_aAß日é\n2", max_size=160)
# Any text at all, lone surrogates included: file names that are not UTF-8 reach Python with those.
NAMES = st.text(st.characters(), max_size=300) | AWKWARD | st.sampled_from(["..", "", "a/../b.jpg", "%2e%2e%2f.png"])


def test_ordinary_names_stay_as_they_are():
    assert safe_names(["cat.jpg", "IMG_0001 (2).JPEG", "夜の港.png", "मुंबई.jpg"]) == [
        "cat.jpg",
        "IMG_0001 (2).JPEG",
        "夜の港.png",
        "मुंबई.jpg",
    ]


def test_hostile_names_become_harmless_and_stay_recognisable():
    assert safe_names(
        ["../../etc/passwd", "a//b.jpg", "%2e%2e%2fx.png", "tab\there\n.jpg", ".hidden", "..", "", "a\\b.gif", "x.jpg."]
    ) == ["_._etc_passwd", "a__b.jpg", "_2e_2e_2fx.png", "tab_here_.jpg", "hidden", "photo", "photo-2", "a_b.gif", "x.jpg"]


def test_a_name_met_again_is_numbered_before_its_extension_whatever_its_case():
    assert safe_names(["a.jpg", "A.JPG", "a-2.jpg", "a.jpg"]) == ["a.jpg", "A-2.JPG", "a-2-2.jpg", "a-3.jpg"]


def test_a_long_name_is_cut_and_keeps_its_extension():
    [name] = safe_names(["日" * 500 + ".jpeg"])
    assert name.endswith("日.jpeg")
    assert len(name.encode()) <= MAX_NAME_BYTES


@given(st.lists(NAMES, max_size=30))
def test_safe_names_are_unique_short_and_no_path(names):
    safe = safe_names(names)
    assert len(safe) == len(names)
    assert len({name.casefold() for name in safe}) == len(safe)
    for name in safe:
        assert 0 < len(name.encode()) <= MAX_NAME_BYTES
        assert name.isprintable()
        assert not set(name) & set("/\\%?#:*<>|&;$`'!\"")
        assert name.strip(" .") == name
        assert ".." not in name


@given(NAMES)
def test_making_a_safe_name_safe_changes_nothing(name):
    once = safe_names([name])
    assert safe_names(once) == once


def test_titles_and_places_vary_and_some_are_not_ascii():
    rng = np.random.default_rng(0)
    some_titles, some_places = titles(200, rng), locations(200, rng)
    assert len(set(some_titles)) > 100
    assert any(not title.isascii() for title in some_titles)
    assert 40 < some_places.count(None) < 120


def test_details_are_canonical_json_with_the_followers_given():
    rows = details([0, 12_345], np.random.default_rng(0))
    parsed = [json.loads(row) for row in rows]
    assert [row["followers"] for row in parsed] == [0, 12_345]
    assert all(set(row) == {"followers", "tags", "device", "_session"} for row in parsed)
    assert [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in parsed] == rows
