"""A virtual environment for each rival, made when first needed from its pinned requirements and kept under `build/`."""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.figures import ROOT

HERE = Path(__file__).parent
ENVIRONMENTS = ROOT / "build" / "rivals"
TIMEOUT_S = 1200


class NotInstallable(Exception):
    """A rival's environment can't be made; the message is what pip said last."""


def python_of(rival: str) -> Path:
    """The Python of a rival's environment, which is made if it is not there. Raises NotInstallable."""
    requirements = HERE / f"{rival}.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(requirements.read_bytes() + version.encode()).hexdigest()[:8]
    folder = ENVIRONMENTS / f"{rival}-{digest}"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if not done.exists():
        print(f"Installing {rival} into {folder} ...", flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)])
        done.touch()
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise NotInstallable(f"installing took longer than {TIMEOUT_S} s") from None
    if done.returncode:
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()]
        raise NotInstallable((errors or ["pip gave no reason"])[0][:300])
