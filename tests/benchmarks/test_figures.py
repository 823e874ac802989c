import argparse
import json
import math
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.figures import Figure, at_least, at_most, finish, interval, number, verdict, write


def test_a_target_includes_its_bound():
    assert at_least(2.5).is_met(2.5)
    assert not at_least(2.5).is_met(2.49)
    assert at_most(0.2).is_met(0.2)
    assert not at_most(0.2).is_met(0.21)


def test_a_figure_knows_whether_its_target_is_met():
    assert Figure("speed", 3.0, "x", at_least(2)).ok is True
    assert Figure("memory", 3.0, "GB", at_most(2)).ok is False
    assert Figure("speed", 3.0, "x").ok is None


def test_what_could_not_be_measured_has_not_met_its_target():
    assert Figure("speed", None, "x", at_least(2), note="rival can't be installed").ok is False
    assert Figure("speed", None, "x", note="rival can't be installed").ok is None


def test_an_interval_is_students():
    mean, half = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (mean, round(half, 3)) == (3.0, 1.963)  # 2.776 times the deviation, 1.581, over the root of 5
    assert math.isnan(interval([7.0])[1])


def test_a_figure_without_value_must_say_why():
    with pytest.raises(ValueError, match="say in its note why"):
        Figure("speed", None, "x")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.12345, "0.123"), (4.5678, "4.57"), (99.96, "100"), (123.4, "123"), (1234567.8, "1,234,568"), (None, "-")],
)
def test_numbers_are_cut_to_what_a_measurement_can_tell(value, text):
    assert number(value) == text


def test_the_json_has_machine_figures_verdicts_and_commands(tmp_path):
    figures = [
        Figure("ratio", 1.5, "x", at_least(2), note="noisy"),
        Figure("alone", 2.0, "s", command="python -m benchmarks.join --side ours"),
    ]
    result = json.loads(write(tmp_path / "new", "join", figures, "python -m benchmarks.join", {"runs": [1, 2]}).read_text())
    assert result["benchmark"] == "join"
    assert result["details"] == {"runs": [1, 2]}
    assert {"processor", "cores", "memory_gb", "flags", "system", "python", "packages"} <= set(result["machine"])
    first, second = result["figures"]
    assert first == {
        "name": "ratio",
        "value": 1.5,
        "unit": "x",
        "target": ">= 2",
        "ok": False,
        "note": "noisy",
        "command": "python -m benchmarks.join",
    }
    assert (second["ok"], second["target"]) == (None, None)
    assert second["command"] == "python -m benchmarks.join --side ours"


def test_a_quick_run_says_so_in_its_command(tmp_path, capsys):
    finish(argparse.Namespace(quick=True, results=tmp_path), "store", [Figure("up", 100.0, "MB/s")])
    assert json.loads((tmp_path / "store.json").read_text())["figures"][0]["command"].endswith("--quick")
    assert "MB/s" in capsys.readouterr().out


def test_the_page_has_every_figure_with_its_target_and_verdict(tmp_path):
    text = written(tmp_path, join=[Figure("ratio", 0.5, "x", at_most(1)), Figure("rows", 2e6, "")])
    assert "| join | ratio | 0.5 x | <= 1 | ok |  |" in text
    assert "| join | rows | 2,000,000 |  |  |  |" in text
    assert "1 of 1 targets met" in text


def test_the_page_names_what_was_not_measured_and_why(tmp_path):
    text = written(tmp_path, join=[Figure("Rival", None, "x", at_least(3), note="no wheel | for this Python")])
    assert "| join | Rival | not measured | >= 3 | missed | no wheel \\| for this Python |" in text
    assert "0 of 1 targets met" in text


def test_the_page_names_benchmarks_that_gave_no_result(tmp_path):
    text = written(tmp_path, order=("join", "store"), join=[Figure("ratio", 0.5, "x")])
    assert "| store | | not measured | | missed | no result: it was not run, or failed |" in text


def test_the_page_keeps_the_order_of_the_benchmarks_and_names_machine_and_command(tmp_path):
    text = written(tmp_path, order=("store", "join"), join=[Figure("b", 1.0, "s")], store=[Figure("a", 1.0, "s")])
    assert text.index("| store | a |") < text.index("| join | b |")
    assert "`python -m benchmarks.join`" in text
    assert "cores" in text


def test_targets_of_the_json_round_trip_through_the_page_without_a_verdict_of_its_own():
    assert [verdict(ok) for ok in (True, False, None)] == ["ok", "missed", ""]


def written(folder: Path, order: tuple[str, ...] = ("join",), **figures: list[Figure]) -> str:
    for name, found in figures.items():
        write(folder, name, found, f"python -m benchmarks.{name}", {})
    page.write(folder, folder / "docs" / "page.md", order)
    return (folder / "docs" / "page.md").read_text()
