"""Contact sheets of speech: a waveform above a spectrogram, with the words below."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pipeline_assets.labeling import segments
from pipeline_assets.variants.contact_sheet import FAINT, INK, Cell, draw
from pipeline_assets.variants.kinds import Made, Parent, Task
from pipeline_assets.variants.speech import sound
from pipeline_assets.variants.speech.catalogue import ENCODINGS

WIDTH_PX, WAVE_PX, SPECTRUM_PX, WORDS_PX = 260, 64, 72, 18
SHOWN_S = 60.0
"""Of a longer clip this much is shown."""
WAVE = (38, 84, 140)
SPAN = (226, 236, 248)
FLOOR_DB = -70.0
_HEAT = np.array([[12, 8, 38], [84, 18, 110], [187, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64)


def sheet(rows: list[tuple[Parent, list[tuple[Task, Made]]]]) -> bytes:
    """A PNG: each parent in a row with its variants, at one scale of time and loudness per row."""
    lines = []
    for parent, variants in rows:
        original = sound.read(parent.data)
        clips = [(original, segments.of_labels(parent.labels, original.duration_s), f"parent {parent.sha256[:8]}")]
        for task, made in variants:
            name = " + ".join(step.name for step in task.recipe.steps if step.name not in ENCODINGS)
            clips.append((sound.read(made.data), tuple(made.labels.get("segments", [])), name))
        longest = min(max(clip.duration_s for clip, _, _ in clips), SHOWN_S)
        loudest = max(float(np.abs(clip.samples).max()) for clip, _, _ in clips)
        lines.append([Cell(picture(clip, spans, longest, loudest), name, _facts(clip)) for clip, spans, name in clips])
    return draw(lines)


def picture(clip: sound.Clip, spans: segments.Segments, width_s: float, loudest: float) -> Image.Image:
    """A clip's first `width_s` seconds: segments shaded, waveform as high as `loudest`, spectrogram, words."""
    image = Image.new("RGB", (WIDTH_PX, WAVE_PX + SPECTRUM_PX + WORDS_PX), (246, 247, 249))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    mono = clip.samples[: round(width_s * clip.rate_hz)].mean(axis=1)
    columns = max(1, round(WIDTH_PX * len(mono) / (width_s * clip.rate_hz)))
    for span in spans:
        left, right = (span[side] / width_s * WIDTH_PX for side in ("start_s", "end_s"))
        pen.rectangle((left, 0, right, WAVE_PX - 1), SPAN)
        pen.text((left + 1, WAVE_PX + SPECTRUM_PX + 2), str(span.get("text", ""))[:12], INK, font)
    _wave(pen, mono, columns, loudest)
    image.paste(_spectrogram(mono, columns), (0, WAVE_PX))
    return image


def _wave(pen: ImageDraw.ImageDraw, mono: npt.NDArray[np.float32], columns: int, loudest: float) -> None:
    """The lowest to the highest sample of each column."""
    scale = (WAVE_PX / 2 - 2) / max(loudest, 0.01)
    pen.line((0, WAVE_PX / 2, columns, WAVE_PX / 2), FAINT)
    for x, part in enumerate(np.array_split(mono, columns)):
        if len(part):
            pen.line((x, WAVE_PX / 2 - part.max() * scale, x, WAVE_PX / 2 - part.min() * scale), WAVE)


def _spectrogram(mono: npt.NDArray[np.float32], columns: int) -> Image.Image:
    """The power spectrum of each column, low frequencies at the bottom, 70 dB from dark to bright."""
    window = 512
    padded = np.pad(mono, (window // 2, window // 2))
    starts = np.linspace(0, max(len(mono) - 1, 0), columns).astype(np.int64)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))[:, 1:]
    level = 10 * np.log10(np.maximum(power / max(power.max(initial=0), 1e-9), 1e-10))
    share = np.clip(1 - level / FLOOR_DB, 0, 1) * (len(_HEAT) - 1)
    low = np.minimum(share.astype(np.int64), len(_HEAT) - 2)
    colours = _HEAT[low] + (share - low)[..., None] * (_HEAT[low + 1] - _HEAT[low])
    picture = Image.fromarray(colours.transpose(1, 0, 2)[::-1].astype(np.uint8), "RGB")
    return picture.resize((columns, SPECTRUM_PX), Image.Resampling.BILINEAR)


def _facts(clip: sound.Clip) -> str:
    return f"{clip.duration_s:.2f} s, {clip.rate_hz / 1000:g} kHz"
