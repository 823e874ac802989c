"""Loads a classifier and runs it once in a separate process: a network that crashes or exhausts memory ends only that one.

The process has limits of memory, CPU time and files, and no credentials in its environment. It is not a sandbox:
`archive.py` and `graph.py` keep the file from running code. The process runs `trial_process.py`.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from pipeline_assets.classify.model_files import ModelFiles
from pipeline_assets.errors import ModelUnusable

CPU_LIMIT_S = 600
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH")


def embedding_width(files: ModelFiles) -> int:
    """The width of a user's network's embedding, from trial passes over grey photos.

    Raises ModelUnusable if outputs do not fit, or if the network ends the process or exceeds its limits.
    """
    arguments = json.dumps([str(files.weights.resolve()), files.preprocessing.crop_px, len(files.classes), CPU_LIMIT_S])
    command = [sys.executable, "-B", "-P", "-m", "pipeline_assets.classify.trial_process", arguments]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        process = subprocess.run(  # noqa: S603
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * CPU_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelUnusable(
            f"{files.weights} takes more than {2 * CPU_LIMIT_S} s for six photos: use a smaller one"
        ) from error
    try:
        answer = json.loads(process.stdout)
    except ValueError:
        raise ModelUnusable(_ending(files.weights, process)) from None
    if "refused" in answer:
        raise ModelUnusable(answer["refused"])
    return int(answer["width"])


def _ending(weights: Path, process: "subprocess.CompletedProcess[bytes]") -> str:
    """The error for a process that gave no answer."""
    code, stderr = process.returncode, process.stderr.decode(errors="replace").strip()[-300:]
    if code == -signal.SIGXCPU:
        return f"{weights} takes more than {CPU_LIMIT_S} s of CPU for six photos: use a smaller network"
    ending = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    return (
        f"{weights} ended its trial process, {ending}: an operator can't work with what the file gives it, or memory "
        f"ran out. Nothing else was harmed; export the network anew. {stderr}".strip()
    )
