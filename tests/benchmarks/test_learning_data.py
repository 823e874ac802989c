"""Coarse classes of photos by WordNet."""

from benchmarks import learning_data
from benchmarks.learning_photos import gain

NOUNS = """\
  1 A line of the licence
00000001 03 n 01 animal 0 000 | a living thing
02084071 05 n 02 dog 0 domestic_dog 0 002 @ 00000001 n 0000 #m 00000009 n 0000 | a pet
02090000 05 n 01 beagle 0 001 @ 02084071 n 0000 | a hound
03000000 06 n 01 kennel 0 001 @i 00000009 n 0000 | of no group
"""


def test_a_class_belongs_to_the_group_that_it_lies_below(tmp_path, monkeypatch):
    path = tmp_path / "data.noun"
    path.write_text(NOUNS)
    monkeypatch.setattr(learning_data, "WORDNET", path)
    assert learning_data.groups_of(["n02090000", "n02084071", "n03000000", "n99999999"]) == [0, 0, None, None]


def test_a_gain_says_its_interval_and_sign():
    assert gain("x", [0.1, 0.11, 0.12], "probe").note == "+0.085 to +0.135 (+) against probe"
    assert "(-) against" in gain("x", [-0.1, -0.11, -0.12], "probe").note
    assert "(?) against" in gain("x", [0.1, -0.1], "probe").note
    assert "(?) against" in gain("x", [0.0, 0.0], "probe").note
