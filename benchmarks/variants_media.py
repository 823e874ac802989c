"""How fast variants of speech and video are made, and whether a long video takes more memory than a short one.

    python -m benchmarks.variants_media [--rounds 3]

Speech: made recordings of 16 kHz, in one process: speed, noise at a ratio and a pause, decoding and FLAC included. Video: a
made clip of 1280 x 720 with sound, a minute of it again and again: speed and a pause, decoding and H.264 included, in a
process of its own for its memory. Several short ones on one thread and on all cores, by turns.
"""

import argparse
import io
import json
import statistics
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from benchmarks.contests import measured, take_turns
from benchmarks.figures import ROOT, Figure, add_options, at_least, at_most, finish
from pipeline_assets.runtime.cores import core_count
from pipeline_assets.sample.recordings import RATE_HZ, voice
from pipeline_assets.variants import speech, video
from pipeline_assets.variants.kinds import Made, Parent, Task, Work
from pipeline_assets.variants.recipes import Recipe
from resources.files import sha256_of

SPEECH = speech.KIND.complete(
    Recipe("speed", factor=(0.9, 1.1)).then(Recipe("noise", snr_db=(10, 30)), Recipe("pause", duration_s=(0.1, 0.4)))
)
VIDEO = video.KIND.complete(Recipe("speed", factor=1.1).then(Recipe("pause", duration_s=0.5)))
RECORDINGS, RECORDING_S = 200, 5.0
CLIPS, CLIP_S = 6, 10


def speech_work(recordings: int) -> list[Work]:
    """A task for each of so many recordings."""
    import soundfile

    work: list[Work] = []
    for number in range(recordings):
        file = io.BytesIO()
        soundfile.write(file, voice(RECORDING_S, number)[0], RATE_HZ, format="WAV", subtype="PCM_16")
        work.append(_work(file.getvalue(), SPEECH))
    return work


def _work(data: bytes | Path, recipe: Recipe) -> Work:
    sha256 = sha256_of(data)
    return Task.of((sha256,), recipe, 0), (Parent(sha256, data),)


def clip(path: Path, seconds: int) -> None:
    """A moving pattern with a voice, 720p at 25 pictures a second."""
    import av

    rate = 25
    line = np.arange(1280)[None, :, None] + np.arange(720)[:, None, None] * 2
    with av.open(str(path), "w", format="mp4") as out:
        pictures = out.add_stream("libx264", rate=Fraction(rate))
        pictures.width, pictures.height, pictures.pix_fmt = 1280, 720, "yuv420p"
        pictures.codec_context.options = {"preset": "ultrafast"}
        sound = out.add_stream("aac", rate=RATE_HZ)
        for second in range(seconds):
            for number in range(rate):
                pixels = ((line + 4 * (second * rate + number)) % 256).astype(np.uint8).repeat(3, axis=2)
                out.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels)))
            heard = (voice(1.0, second % 7)[0][None] * 32_767).astype(np.int16)
            for start in range(0, RATE_HZ, 1_024):
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(heard[:, start : start + 1_024]), "s16", "mono")
                frame.sample_rate, frame.pts = RATE_HZ, second * RATE_HZ + start
                out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
        out.mux(pictures.encode(None))


def repeated(minute: Path, path: Path, times: int) -> None:
    """A clip's packets over and over, as one clip."""
    import av

    ends: dict[int, int] = {}
    with av.open(str(path), "w", format="mp4") as out:
        for _ in range(times):
            with av.open(str(minute)) as container:
                if not ends:
                    streams = [out.add_stream_from_template(stream) for stream in container.streams]
                offsets: dict[int, int] = {}
                for packet in container.demux():
                    if packet.dts is None:
                        continue
                    at = packet.stream.index
                    by = offsets.setdefault(at, ends.get(at, packet.dts) - packet.dts)
                    packet.pts, packet.dts = packet.pts + by, packet.dts + by
                    ends[at] = packet.dts + packet.duration
                    packet.stream = streams[at]
                    out.mux(packet)


def one_video(path: Path) -> dict[str, float]:
    """Make one variant of a file, and say how long that took."""
    began = time.perf_counter()
    ((_, outcome),) = video.KIND.make([_work(path, VIDEO)])
    assert isinstance(outcome, Made), outcome
    return {"s": time.perf_counter() - began, "made_s": outcome.columns["duration_s"]}


def several(folder: Path, rounds: int) -> list[Figure]:
    """Clips of ten seconds on one thread, and as many at once as there are cores."""
    path = folder / "ten seconds.mp4"
    clip(path, CLIP_S)
    work = [_work(path.read_bytes() + bytes(number), VIDEO) for number in range(CLIPS)]

    def seconds(threads: int | None) -> float:
        began = time.perf_counter()
        assert all(isinstance(outcome, Made) for _, outcome in video.Video(threads).make(work))
        return time.perf_counter() - began

    runs = take_turns({"one": lambda: seconds(1), "all": lambda: seconds(None)}, rounds)
    single, parallel = (CLIPS * CLIP_S / statistics.median(runs[side]) for side in ("one", "all"))
    name = f"videos on {core_count()} cores: times real time"
    return [
        Figure(name, parallel, "x", note=f"{CLIPS} of {CLIP_S} s"),
        Figure(f"videos on {core_count()} cores beside one", parallel / single, "x"),
    ]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--rounds", type=int, help="of speech (3; with --quick 1)")
    parser.add_argument("--minutes", type=int, nargs=2, metavar=("SHORT", "LONG"), help="of video (1, 60; --quick 1, 2)")
    parser.add_argument("--video", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.video:
        print(json.dumps(one_video(options.video)))
        return
    work = speech_work(20 if options.quick else RECORDINGS)
    list(speech.KIND.make(work[:4]))
    seconds = []
    for _ in range(options.rounds or (1 if options.quick else 3)):
        began, cpu_start = time.perf_counter(), time.process_time()
        made_count = sum(isinstance(outcome, Made) for _, outcome in speech.KIND.make(work))
        assert made_count == len(work)
        seconds.append((time.perf_counter() - began, time.process_time() - cpu_start))
    heard = len(work) * RECORDING_S
    cpu = statistics.median(s for _, s in seconds)
    figures = [
        Figure("speech: times real time, a core", heard / cpu, "x", at_least(100), "speed, noise and a pause, 16 kHz")
    ]
    short, long = options.minutes or ((1, 2) if options.quick else (1, 60))
    peaks, ratios = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        minute = Path(folder) / "minute.mp4"
        clip(minute, 60)
        at_once = several(Path(folder), options.rounds or (1 if options.quick else 3))
        for minutes in (short, long):
            path = Path(folder) / f"{minutes} minutes.mp4"
            repeated(minute, path, minutes)
            command = [sys.executable, "-m", "benchmarks.variants_media", "--video", str(path)]
            cpu_start = measured(command, cwd=ROOT, timeout_s=1_000 * minutes)
            peaks[minutes], ratios[minutes] = cpu_start.peak_mb, 60 * minutes / json.loads(cpu_start.output)["s"]
    figures += [
        Figure(f"video of {minutes} min: times real time", ratios[minutes], "x", at_least(2), "speed and a pause, 720p")
        for minutes in (short, long)
    ]
    note = f"{peaks[long]:.0f} MB beside {peaks[short]:.0f} MB"
    figures += at_once
    figures.append(Figure(f"memory of {long} min beside {short} min", peaks[long] / peaks[short], "x", at_most(1.1), note))
    finish(options, "variants_media", figures, {"speech_s": seconds, "peaks_mb": peaks, "ratios": ratios})


if __name__ == "__main__":
    main()
