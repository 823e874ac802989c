import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import arguments, run
from benchmarks.figures import ROOT


def test_one_that_fails_says_so_and_leaves_no_earlier_result(tmp_path, capfd):
    (tmp_path / "no_such_benchmark.json").write_text("{}")
    assert run("no_such_benchmark", tmp_path, []) is False
    assert "No module named" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_only_benchmarks_of_photos_or_scans_are_told_of_the_folder(tmp_path):
    options = argparse.Namespace(quick=True, photos=tmp_path, scans=tmp_path)
    assert arguments("rivals", options) == ["--quick", "--photos", str(Path(tmp_path).resolve())]
    assert arguments("variants_receipts", options) == ["--quick", "--scans", str(Path(tmp_path).resolve())]
    assert arguments("store", options) == ["--quick"]
    assert arguments("variants_receipts", argparse.Namespace(quick=False, photos=None, scans=None)) == []


@pytest.mark.slow
def test_an_unknown_name_is_refused_with_the_known_ones():
    command = [sys.executable, "-m", "benchmarks", "speed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no benchmark speed: there are classify" in done.stderr
