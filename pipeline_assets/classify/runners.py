"""Runs a classifier over chunks of crops on one kind of device, asynchronously.

Every forward pass has one fixed shape, the last one padded with zeros: compiled code never compiles again, and a photo's
result does not depend on the number of others.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline_assets.classify.models import Classifier

Forward = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
Crop = npt.NDArray[np.uint8]
CPU_ROWS = 4
"""Rows of a forward pass on CPU. Eight take as much CPU a photo, and twice the memory for what is between layers."""


@dataclass(frozen=True)
class Scores:
    """Of n photos, in order: top-k class indices (n, k) int32 and probabilities (n, k) float32, most probable
    first, and embeddings (n, E) float32.
    """

    index: npt.NDArray[np.int32]
    probability: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]

    def rows(self) -> Iterator["Scores"]:
        """The scores of each photo."""
        for row in range(len(self.index)):
            photo = slice(row, row + 1)
            yield Scores(self.index[photo], self.probability[photo], self.embedding[photo])


def choose_device(device: str = "auto") -> torch.device:
    """`auto` is cuda, else mps, else cpu. Raises ValueError if a named device is not available."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, is_there in available.items() if is_there))
    chosen = torch.device(device)
    if not available.get(chosen.type, False):
        available_names = [name for name, is_there in available.items() if is_there]
        raise ValueError(f"device {device!r} is not available here: choose auto or one of {available_names}")
    return chosen


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 if the device supports it natively, else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        flags = torch.cpu.get_capabilities()
        return torch.bfloat16 if flags.get("avx512_bf16") or flags.get("amx_bf16") else torch.float32
    return torch.float32


def in_precision(module: Forward, device: torch.device, dtype: torch.dtype) -> Forward:
    """The module under autocast if dtype is bfloat16; unchanged for float32."""

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            return module(x)

    return forward


class Network:
    """A forward pass with the preprocessing before it and the ranking after it, on one device."""

    def __init__(self, classifier: Classifier, forward: Forward, device: torch.device) -> None:
        self.side = classifier.preprocessing.crop_px
        self._forward = forward
        # Whole lines of pixels: broadcasting over three channels that lie innermost in memory takes six times longer.
        steps = classifier.preprocessing
        self._mean, self._std = (torch.tensor(v).repeat(self.side).to(device) for v in (steps.mean, steps.std))

    def __call__(self, crops: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Preprocess, classify and rank, without waiting for the device.

        crops: (B, 3, S, S) uint8, channels_last, on the device.  Returns index (B, k) int32, probability (B, k),
        embedding (B, E) float32 with k = min(5, C).
        """
        lines = crops.permute(0, 2, 3, 1).reshape(-1, self.side, self.side * 3)
        x = lines.to(torch.float32).sub_(self._mean).div_(self._std)
        logits, embedding = self._forward(x.view(-1, self.side, self.side, 3).permute(0, 3, 1, 2))
        top = logits.float().softmax(1).topk(min(5, logits.shape[1]), dim=1)
        return top.indices.to(torch.int32), top.values, embedding.float()


class CpuRunner:
    """One forward pass per core at a time, on the calling thread.

    Two parallel passes are faster than one pass on two threads: no layer waits for the slower thread, which costs most while
    decoding keeps the cores busy.
    """

    def __init__(self, classifier: Classifier, forward: Forward, rows: int = CPU_ROWS) -> None:
        self._network, self.rows = Network(classifier, forward, torch.device("cpu")), rows

    @torch.inference_mode()
    def score(self, crops: Sequence[Crop]) -> Scores:
        """The scores of up to `rows` (3, S, S) uint8 crops. Thread-safe; see `single_threaded_pool`."""
        batch = channels_last(self.rows, self._network.side)
        _fill(batch, crops)
        return _scores([t.numpy() for t in self._network(batch)], len(crops))


class DeviceRunner:
    """An accelerator: copies and kernels are queued, and only reading a result waits.

    On CUDA each chunk in flight has a slot of pinned memory, so that copies in both directions overlap with kernels. A slot
    is reused only after its scores were read.
    """

    depth = 2

    def __init__(self, classifier: Classifier, forward: Forward, device: torch.device, rows: int) -> None:
        self._network, self._device = Network(classifier, forward, device), device
        self._is_cuda = device.type == "cuda"
        slots = [channels_last(rows, self._network.side) for _ in range(self.depth + 1)]
        self._free = deque(slot.pin_memory() if self._is_cuda else slot for slot in slots)

    @torch.inference_mode()
    def submit(self, crops: Sequence[Crop]) -> Callable[[], Scores]:
        """Start on (3, S, S) uint8 crops; the returned function waits for their scores.

        Call the functions in order; at most depth + 1 submissions may be pending.
        """
        slot = self._free.popleft()
        _fill(slot, crops)
        results = self._network(slot.to(self._device, non_blocking=True))
        if self._is_cuda:
            results = tuple(torch.empty_like(t, device="cpu", pin_memory=True).copy_(t, non_blocking=True) for t in results)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()

        def take() -> Scores:
            if self._is_cuda:
                copied.synchronize()
            # Copied out of the pinned buffers, which torch reuses.
            scores = _scores([t.cpu().numpy().copy() for t in results], len(crops))
            self._free.append(slot)
            return scores

        return take

    def close(self) -> None:
        """Wait for what has started."""
        if self._is_cuda:
            torch.cuda.synchronize(self._device)


def channels_last(rows: int, side: int) -> torch.Tensor:
    """An array (rows, 3, side, side) uint8 on the host, in the memory order of channels_last."""
    return torch.zeros((rows, side, side, 3), dtype=torch.uint8).permute(0, 3, 1, 2)


def _fill(batch: torch.Tensor, crops: Sequence[Crop]) -> None:
    """Write the crops to the first rows, zeros to the rest. batch: (rows, 3, S, S) uint8 on the host."""
    rows = batch.numpy()
    for row, crop in zip(rows, crops, strict=False):
        row[...] = crop
    rows[len(crops) :] = 0


def _scores(arrays: list[npt.NDArray[np.generic]], count: int) -> Scores:
    index, probability, embedding = (array[:count] for array in arrays)
    return Scores(index.astype(np.int32), probability.astype(np.float32), embedding.astype(np.float32))


def joined(parts: Sequence[Scores]) -> Scores:
    """Concatenate scores."""
    return Scores(
        np.concatenate([p.index for p in parts]),
        np.concatenate([p.probability for p in parts]),
        np.concatenate([p.embedding for p in parts]),
    )


def single_threaded_pool(workers: int) -> ThreadPoolExecutor:
    """A pool of threads on which torch uses one core each; the rest of the process keeps its setting.

    torch.set_num_threads sets the calling thread, and the default of threads that have not used torch yet: all workers start
    here, and then the default is restored.
    """
    before = torch.get_num_threads()
    all_here = threading.Barrier(workers)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread takes the default at its first use of torch: now, while it is 1
        all_here.wait()

    pool = ThreadPoolExecutor(workers, thread_name_prefix="classify-work")
    for future in [pool.submit(start) for _ in range(workers)]:
        future.result()
    torch.set_num_threads(before)
    return pool
