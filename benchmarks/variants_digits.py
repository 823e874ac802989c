"""Whether variants of speech help: a small network trained with and without them, tested on speakers that it never heard.

    python -m benchmarks.variants_digits --speech FOLDER [--seeds 5]

A small network on log-mel spectrograms of spoken digits ({digit}_{speaker}_{take}.wav), each speaker left out in turn
for the test, with and without variants of the training recordings, for the same number of steps.
Intervals are 95 percent of the mean over seeds, by Student's t.
"""

import argparse
import hashlib
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.figures import Figure, add_options, finish, interval
from pipeline_assets.variants import speech
from pipeline_assets.variants.kinds import Kind, Made, Parent, Task
from pipeline_assets.variants.recipes import Recipe

RATE_HZ, SAMPLES = 8_000, 8_192
MELS, FRAME, HOP = 40, 256, 128
SPEECH_RECIPES = ("speed", "tempo", "pitch", "noise", "pink_noise", "room", "far_speaker")
STEPS, BATCH = 400, 48

Floats = npt.NDArray[np.float32]


def variants(
    kind: Kind, contents: Sequence[bytes], recipes: Iterable[Recipe], run_seed: int
) -> list[tuple[int, int, bytes]]:
    """(which content, which recipe, bytes) of every content by every recipe that fits it."""
    tasks: list[tuple[Task, tuple[Parent, ...]]] = []
    positions: dict[str, tuple[int, int]] = {}
    for number, data in enumerate(contents):
        sha256 = hashlib.sha256(data).hexdigest()
        for position, recipe in enumerate(recipes):
            task = Task.of((sha256,), recipe, run_seed)
            positions[task.variant_id] = (number, position)
            tasks.append((task, (Parent(sha256, data),)))
    return [
        (*positions[task.variant_id], outcome.data)
        for task, outcome in kind.make(tasks)
        if isinstance(outcome, Made) and isinstance(outcome.data, bytes)
    ]


def log_mel(data: bytes) -> Floats:
    """(MELS, frames) of one recording, cut or filled up to about a second, its mean and deviation taken out."""
    import io

    import soundfile

    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    mono = np.zeros(SAMPLES, np.float32)
    heard = samples.mean(axis=1)[:SAMPLES]
    mono[: len(heard)] = heard
    frames = np.lib.stride_tricks.sliding_window_view(mono, FRAME)[::HOP] * np.hanning(FRAME)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    mels = np.linspace(0, 2595 * math.log10(1 + RATE_HZ / 2 / 700), MELS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1) * FRAME / RATE_HZ
    bins = np.arange(power.shape[1])
    bank = np.stack(
        [
            np.clip(np.minimum((bins - a) / (b - a), (c - bins) / (c - b)), 0, None)
            for a, b, c in zip(edges, edges[1:], edges[2:], strict=False)
        ]
    )
    spectrum = np.log(bank @ power.T + 1e-6)
    return ((spectrum - spectrum.mean()) / (spectrum.std() + 1e-6)).astype(np.float32)


def digits_accuracy(train: tuple[Floats, list[int]], test: tuple[Floats, list[int]], seed: int) -> float:
    """Share of the test recordings that a network trained on the others names rightly."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 12, 5, stride=2, padding=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(12, 24, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(24, 48, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d((4, 6)),
        torch.nn.Flatten(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(48 * 24, 10),
    )
    inputs, labels = torch.from_numpy(train[0])[:, None], torch.tensor(train[1])
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
    order = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        batch = torch.randint(len(inputs), (BATCH,), generator=order)
        loss = torch.nn.functional.cross_entropy(network(inputs[batch]), labels[batch], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        guessed = network(torch.from_numpy(test[0])[:, None]).argmax(1)
    return float((guessed == torch.tensor(test[1])).float().mean())


def digits(folder: Path, seeds: int, limit: int | None) -> tuple[list[Figure], dict[str, Any]]:
    """Accuracy on speakers that were not in the training, without variants and with them."""
    paths = sorted(folder.glob("*_*_*.wav"))[:: (1 if limit is None else max(1, len(list(folder.glob("*.wav"))) // limit))]
    name_parts = [path.stem.split("_") for path in paths]
    contents = [path.read_bytes() for path in paths]
    speakers = sorted({speaker for _, speaker, _ in name_parts})
    plain = np.stack([log_mel(data) for data in contents])
    labels = [int(digit) for digit, _, _ in name_parts]
    recipes = [speech.KIND.complete(speech.KIND.recipes[name]) for name in SPEECH_RECIPES]
    runs: dict[str, list[float]] = {"without": [], "with": []}
    for seed in range(seeds):
        made_variants = variants(speech.KIND, contents, recipes, seed)
        extra = np.stack([log_mel(data) for _, _, data in made_variants])
        scores: dict[str, list[float]] = {"without": [], "with": []}
        for out in speakers:
            training = [at for at, (_, who, _) in enumerate(name_parts) if who != out]
            held_out = [at for at, (_, who, _) in enumerate(name_parts) if who == out]
            test = plain[held_out], [labels[at] for at in held_out]
            of_kept = [at for at, (parent, _, _) in enumerate(made_variants) if name_parts[parent][1] != out]
            both = np.concatenate([plain[training], extra[of_kept]])
            training_labels = [labels[at] for at in training] + [labels[made_variants[at][0]] for at in of_kept]
            scores["without"].append(digits_accuracy((plain[training], [labels[at] for at in training]), test, seed))
            scores["with"].append(digits_accuracy((both, training_labels), test, seed))
        for name, values in scores.items():
            runs[name].append(statistics.mean(values))
    gains = [b - a for a, b in zip(runs["without"], runs["with"], strict=True)]
    note = f"{len(paths)} recordings of {len(speakers)} speakers, each left out in turn, {seeds} seeds"
    figures = [
        Figure(
            f"digits, {name} variants: accuracy", statistics.mean(values), "", note=f"± {interval(values)[1]:.3f}; {note}"
        )
        for name, values in runs.items()
    ]
    figures.append(Figure("digits: gain by variants", statistics.mean(gains), "", note=f"± {interval(gains)[1]:.3f}"))
    return figures, runs


def main() -> None:
    """Train, test, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--speech", type=Path, required=True, help="a folder of {digit}_{speaker}_{take}.wav")
    parser.add_argument("--seeds", type=int, help="5; with --quick 2")
    options = parser.parse_args()
    torch.set_num_threads(2)
    seeds, limit = options.seeds or (2 if options.quick else 5), 40 if options.quick else None
    figures, runs = digits(options.speech, seeds, limit)
    finish(options, "variants_digits", figures, runs)


if __name__ == "__main__":
    main()
