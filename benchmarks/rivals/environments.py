"""A virtual environment for each rival, made when first needed from its pinned requirements and kept under `build/`.

    python -m benchmarks.rivals.environments RIVAL

makes one beforehand.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.figures import ROOT

HERE = Path(__file__).parent
ENVIRONMENTS = ROOT / "build" / "rivals"
TIMEOUT_S = 1200
DONE = "installed"


class NotInstallable(Exception):
    """A rival's environment can't be made; the message is what pip said last."""


def is_made(rival: str) -> bool:
    """Whether a rival's environment is there already."""
    return (_folder(rival) / DONE).exists()


def python_of(rival: str) -> Path:
    """The Python of a rival's environment, which is made if it is not there. Raises NotInstallable."""
    requirements, folder = HERE / f"{rival}.txt", _folder(rival)
    python = folder / "bin" / "python"
    if not is_made(rival):
        print(f"Installing {rival} into {folder} ...", flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)])
        (folder / DONE).touch()
    return python


def _folder(rival: str) -> Path:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256((HERE / f"{rival}.txt").read_bytes() + version.encode()).hexdigest()[:8]
    return ENVIRONMENTS / f"{rival}-{digest}"


def _run(command: list[str]) -> None:
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NotInstallable(f"installing took longer than {TIMEOUT_S} s") from None
    if process.returncode:
        errors = [line for line in (process.stdout + process.stderr).splitlines() if "error" in line.lower()]
        raise NotInstallable((errors or ["pip gave no reason"])[0][:300])


if __name__ == "__main__":
    print(python_of(sys.argv[1]))
