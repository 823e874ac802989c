"""What gets installed is what was pinned, fits together, and may be used. Known vulnerabilities: `make audit`, with network."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
NOT_OURS = {"setuptools"}
"""Comes with the virtual environment, as pip does."""
WEAK_COPYLEFT = {"psycopg2-binary", "crc32c", "soxr"}
"""LGPL, used as libraries, unchanged. crc32c comes with `tfrecord`, by which tests alone read what is exported."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in CONSTRAINTS.read_text().splitlines())
    return {canonical(line.split("==")[0]): line.split("==")[1] for line in lines if line}


def needed() -> dict[str, str]:
    """Each distribution that Darkroom with its tools needs, at any remove, in the version that is installed."""
    seen: set[tuple[str, str]] = set()
    waiting = [("darkroom", "dev")]
    while waiting:
        name, extra = waiting.pop()
        for text in metadata.distribution(name).requires or ():
            requirement = Requirement(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            new = {(canonical(requirement.name), wanted) for wanted in ("", *requirement.extras)} - seen
            seen |= new
            waiting += new
    return {name: metadata.version(name) for name, _ in seen}


def test_every_distribution_that_is_needed_is_pinned_and_installed_so() -> None:
    pinned = pins()
    wrong = {
        name: (version, pinned.get(name))
        for name, version in needed().items()
        if name not in NOT_OURS and version.split("+")[0] != pinned.get(name)
    }
    assert wrong == {}, "installed and pinned differ: `make install`, or pin it in constraints.txt"


def test_every_line_of_the_constraints_pins_one_version_and_they_are_sorted() -> None:
    lines = CONSTRAINTS.read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    names = [line.split("==")[0].lower() for line in lines]
    assert names == sorted(names)


def test_the_installed_distributions_fit_together() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_distribution_has_a_licence_that_would_bind_darkrooms_own_code() -> None:
    bound = set()
    for name in needed():
        about = metadata.metadata(name)
        told = [about.get("License-Expression") or "", *(about.get_all("Classifier") or ())]
        licences = " ".join(text for text in told if "License ::" in text or text == told[0])
        if re.search(r"GPL|General Public|Server Side Public|Business Source", licences):
            bound.add(name)
    assert bound == WEAK_COPYLEFT
