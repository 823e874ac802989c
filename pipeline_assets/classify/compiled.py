"""Networks compiled by AOTInductor, cached on disk, and used only if they measure faster than the eager network.

Compiling takes up to a minute on two cores, so an artefact is keyed by everything that it depends on, and both forms are
timed once when it is made; the verdict is stored with it. It is for a user's own network: the built-in one is faster
fused (`fusion.py`). A ResNet-18 in bfloat16 takes 19.1 CPU ms per photo compiled, 23.8 eagerly.

The folder has machine code that will run: it must belong to this user alone.
"""

import hashlib
import json
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pipeline_assets.classify.models import Classifier
from resources.files import write

Forward = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
_WORTH_IT = 0.95
"""A compiled network must take at most this share of the eager one's time."""


def compiled_or_eager(
    classifier: Classifier, eager: Forward, folder: Path, *, rows: int, dtype: torch.dtype, runners: int
) -> Forward:
    """The faster of the compiled and the eager forward pass for batches of exactly `rows` photos on CPU.

    runners: how many threads may call it at once. Where there is no C++ compiler, or compiling fails, that is
    warned of and eager is returned.
    """
    key = _key(classifier, rows, dtype)
    artefact, verdict = folder / f"{key}.pt2", folder / f"{key}.json"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not verdict.exists():
        side = classifier.preprocessing.crop_px
        x = torch.zeros(rows, 3, side, side).to(memory_format=torch.channels_last)
        write(verdict, json.dumps(_try_out(classifier, eager, artefact, x, dtype), indent=2).encode())
    if not json.loads(verdict.read_text())["use_compiled"]:
        return eager
    try:
        return _load(artefact, runners)
    except Exception as error:
        warnings.warn(
            f"the compiled network {artefact} can't be loaded ({error!s:.200}); delete it to have it "
            "compiled anew. Going on without it, more slowly",
            RuntimeWarning,
            stacklevel=2,
        )
        return eager


def _try_out(classifier: Classifier, eager: Forward, artefact: Path, x: torch.Tensor, dtype: torch.dtype) -> dict[str, Any]:
    """Compile, and time both forms. Returns the verdict."""
    try:
        _compile(classifier, artefact, x, dtype)
        compiled = _load(artefact, 1)
        compiled_s = _fastest_s(compiled, x)
    except Exception as error:
        warnings.warn(
            f"the network can't be compiled here ({error!s:.200}); install g++ and delete the cache folder to "
            "try again. Going on without, more slowly",
            RuntimeWarning,
            stacklevel=3,
        )
        return {"use_compiled": False, "error": f"{error!s:.2000}"}
    eager_s = _fastest_s(eager, x)
    return {"use_compiled": compiled_s <= _WORTH_IT * eager_s, "compiled_s": compiled_s, "eager_s": eager_s}


class _Autocast(torch.nn.Module):
    """Autocast as part of the graph, so that the compiler can optimize it."""

    def __init__(self, module: torch.nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            logits, embedding = self.module(x)
        return logits, embedding


def _compile(classifier: Classifier, artefact: Path, x: torch.Tensor, dtype: torch.dtype) -> None:
    import torch._inductor

    # One thread, because the runner has one thread per core already; freezing folds norms and packs weights. Precompiling
    # torch's headers takes as long as all else, and makes that no quicker.
    config = {"cpp.threads": 1, "freezing": True, "aot_inductor.precompile_headers": False}
    with torch.no_grad(), tempfile.TemporaryDirectory(dir=artefact.parent) as scratch:
        program = torch.export.export(_Autocast(classifier.module, dtype), (x,))
        package = torch._inductor.aoti_compile_and_package(
            program, package_path=str(Path(scratch) / "model.pt2"), inductor_configs=config
        )
        Path(package).replace(artefact)


def _load(artefact: Path, runners: int) -> Forward:
    from torch.export.pt2_archive._package import load_pt2

    model = load_pt2(str(artefact), num_runners=runners).aoti_runners["model"]

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, embedding = model(x)
        return logits, embedding

    return forward


def _fastest_s(forward: Forward, x: torch.Tensor) -> float:
    """Seconds of the fastest of six passes on this thread alone, after a warm-up pass."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            return min([_pass_s(forward, x) for _ in range(7)][1:])
    finally:
        torch.set_num_threads(threads)


def _pass_s(forward: Forward, x: torch.Tensor) -> float:
    start = time.thread_time()
    forward(x)
    return time.thread_time() - start


def _key(classifier: Classifier, rows: int, dtype: torch.dtype) -> str:
    """A hash of everything that an artefact and its timing depend on."""
    code = hashlib.sha256(
        b"".join(Path(__file__).with_name(n).read_bytes() for n in ("compiled.py", "graph.py", "models.py"))
    )
    flags = {name: str(value) for name, value in torch.cpu.get_capabilities().items()}
    parts = [classifier.model_id, code.hexdigest(), torch.__version__, platform.machine(), flags, rows, str(dtype)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
