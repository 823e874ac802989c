"""Each of the longest files is run by CI on every third day."""

from pathlib import Path

from longest import LONGEST, TURNS, is_its_turn


def test_each_of_the_longest_is_one_file_and_has_one_turn_of_three() -> None:
    files = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert [files.count(name) for name in LONGEST] == [1] * len(LONGEST)
    for start in (0, 20_786):
        turns = range(start, start + len(TURNS))
        assert sorted(name for turn in turns for name in LONGEST if is_its_turn(name, turn)) == sorted(LONGEST)


def test_no_two_files_of_tests_have_one_name() -> None:
    """They are imported by their names: of two, a whole run would collect only the first."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
