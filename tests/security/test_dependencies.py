"""What gets installed is what was pinned, fits together, and may be used. Known vulnerabilities: `make audit`, with network."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
LOCKS = CONSTRAINTS.with_name("requirements")
WINDOWS = "sys_platform == 'win32'"
"""A lock is of all systems; no constraint is of one that Darkroom does not run on."""
WEAK_COPYLEFT = {"psycopg2-binary", "crc32c", "soxr", "pi-heif", "docutils"}
"""LGPL, used as libraries, unchanged. pi-heif is BSD itself and bundles libheif and libde265. crc32c comes with `tfrecord`, by which tests alone read what is exported.
docutils comes with marimo, the extra for notebooks: public domain and BSD, but for a file for Emacs, which is under the GPL."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in CONSTRAINTS.read_text().splitlines())
    return {canonical(line.split("==")[0]): line.split("==")[1] for line in lines if line}


def locked(name: str) -> dict[str, str]:
    """The distributions of a lock, but for Windows, in their versions."""
    lines = re.findall(r"^([a-z0-9-]+)==(\S+)(.*)$", (LOCKS / name).read_text(), re.M)
    return {name: version for name, version, marker in lines if WINDOWS not in marker or "!=" in marker}


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
    return {name: metadata.version(name) for name, _ in seen if name != "darkroom"}  # its extras name it


def test_every_distribution_that_is_needed_is_pinned_and_installed_so() -> None:
    pinned = locked("cuda.lock") | pins()
    wrong = {
        name: (version, pinned.get(name)) for name, version in needed().items() if version.split("+")[0] != pinned.get(name)
    }
    assert wrong == {}, (
        "installed and pinned differ: `make install`, or pin it in constraints.txt (what torch needs on a GPU: in cuda.lock)"
    )


def test_every_line_of_the_constraints_pins_one_version_and_they_are_sorted() -> None:
    lines = CONSTRAINTS.read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    names = [line.split("==")[0].lower() for line in lines]
    assert names == sorted(names)


def test_the_lock_has_each_constraint_and_no_more() -> None:
    assert locked("darkroom.lock") == pins(), "`make lock` makes it anew"
    for lock in ("build.lock", "cuda.lock"):
        assert locked(lock).items() & pins().items(), lock
        assert [name for name, version in locked(lock).items() if pins().get(name, version) != version] == []


@pytest.mark.parametrize("lock", ["build.lock", "cuda.lock", "darkroom.lock", "frames.lock", "tools.lock"])
def test_each_distribution_of_a_lock_has_hashes(lock: str) -> None:
    text = re.sub(r"^ *#.*\n", "", (LOCKS / lock).read_text(), flags=re.M)
    entry = r"[a-z0-9-]+(\[[a-z,]+\])?==\S+( ; .+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.fullmatch(f"({entry})+", text)


def wheel(folder: Path, code: str) -> str:
    """A distribution `plain` 1.0 as pip installs it. Returns its hash."""
    path, about = folder / "plain-1.0-py3-none-any.whl", "plain-1.0.dist-info"
    members = {
        "plain.py": code,
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: plain\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(zipfile.ZipInfo(name), text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("lock", ["build.lock", "darkroom.lock"])
def test_make_install_refuses_a_file_that_the_lock_has_another_hash_of(tmp_path: Path, lock: str) -> None:
    shutil.copy(CONSTRAINTS.with_name("Makefile"), tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements").mkdir()
    (tmp_path / "index").mkdir()
    for name in ("build.lock", "cuda.lock", "darkroom.lock"):
        (tmp_path / "requirements" / name).touch()
    ours = wheel(tmp_path / "index", "print('ours')")
    (tmp_path / "requirements" / lock).write_text(f"plain==1.0 --hash=sha256:{ours}\n")
    theirs = wheel(tmp_path / "index", "print('theirs')")
    assert theirs != ours
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")}

    def install() -> str:
        command = ["make", "install", f"PYTHON={sys.executable}"]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | offline, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    refused = install()
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in refused, refused
    assert not [*tmp_path.glob(".venv/lib/*/site-packages/plain.py")]
    wheel(tmp_path / "index", "print('ours')")
    assert "DO NOT MATCH" not in install()
    assert [*tmp_path.glob(".venv/lib/*/site-packages/plain.py")]


@pytest.mark.slow
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
