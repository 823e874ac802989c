"""FFmpeg's filters as functions of frames and samples, each on one thread and bit-exact where it can be."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline_assets.ingestion.media.videos import VideoFacts

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame

Samples = npt.NDArray[np.int16]
SCALE = "bicubic+accurate_rnd+bitexact"
LAYOUTS = {1: "mono", 2: "stereo"}
_MATRICES = {1: "bt709", 4: "fcc", 7: "smpte240m", 9: "bt2020"}
"""Names of colour matrices by their number in ITU-T H.273; all others are the usual one."""
_FULL = 2
_TURNS = {90: ("transpose", "2"), 180: ("transpose", "2"), 270: ("transpose", "1")}


class Scaled:
    """Fits pictures into a size as yuv420p, with black borders that preserve their aspect ratio. Sizes are even."""

    def __init__(self, width_px: int, height_px: int, turn_deg: int = 0, *, is_cropped: bool = False) -> None:
        self.width_px, self.height_px = width_px, height_px
        self._turn_deg = turn_deg
        self._is_cropped = is_cropped
        self._graph: Any = None
        self._of: tuple[Any, ...] = ()

    def __call__(self, frame: "VideoFrame") -> "VideoFrame":
        """The fitted picture; the same object if it fits already."""
        if not self._turn_deg and frame.format.name == "yuv420p" and (frame.width, frame.height) == self._size:
            return frame
        kind = (frame.width, frame.height, frame.format.name)
        if self._of != kind:
            self._graph, self._of = self._built(frame), kind
        self._graph.vpush(frame)
        return self._graph.vpull()

    @property
    def _size(self) -> tuple[int, int]:
        return self.width_px, self.height_px

    def _built(self, frame: "VideoFrame") -> Any:
        import av

        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 90_000)
        )
        chain = [source]
        turns = 2 if self._turn_deg == 180 else 1 if self._turn_deg else 0
        chain += [graph.add(*_TURNS[self._turn_deg]) for _ in range(turns)]
        width, height = self._size
        upright = (frame.height, frame.width) if self._turn_deg in (90, 270) else (frame.width, frame.height)
        if self._is_cropped and upright[0] - width in (0, 1) and upright[1] - height in (0, 1):
            chain.append(graph.add("crop", f"{width}:{height}:0:0:exact=1"))
        fit = f"{width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2:flags={SCALE}"
        chain.append(graph.add("scale", fit))
        chain.append(graph.add("format", "pix_fmts=yuv420p"))
        chain.append(graph.add("pad", f"{width}:{height}:-1:-1"))
        chain.append(graph.add("buffersink"))
        graph.link_nodes(*chain).configure()
        return graph


class Upright(Scaled):
    """Rotates a file's pictures upright, and crops a last odd column or row."""

    def __init__(self, facts: VideoFacts) -> None:
        super().__init__(facts.width_px // 2 * 2, facts.height_px // 2 * 2, facts.turn_deg, is_cropped=True)


class Converted:
    """Converts pictures to another pixel format. model: a picture with the colour matrix and range of results in YUV."""

    def __init__(self, pixel_format: str, model: "VideoFrame | None" = None) -> None:
        self._format = pixel_format
        self._model = model
        self._graph: Any = None

    def __call__(self, frame: "VideoFrame") -> "VideoFrame":
        """Convert one picture; all must have one size and format."""
        if self._graph is None:
            self._graph = self._built(frame)
        self._graph.vpush(frame)
        converted: VideoFrame = self._graph.vpull()
        if self._model is not None:
            tag(converted, self._model)
        return converted

    def _built(self, frame: "VideoFrame") -> Any:
        import av

        graph = av.filter.Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 90_000)
        )
        options = f"flags={SCALE}"
        if self._model is not None:
            matrix = _MATRICES.get(int(self._model.colorspace), "bt601")
            options += (
                f":out_color_matrix={matrix}:out_range={'full' if int(self._model.color_range) == _FULL else 'limited'}"
            )
        scale, format_ = graph.add("scale", options), graph.add("format", f"pix_fmts={self._format}")
        graph.link_nodes(source, scale, format_, graph.add("buffersink")).configure()
        return graph


def tag(target: Any, model: Any) -> None:
    """Copy the colour metadata of a picture to another or to a stream."""
    target.color_range, target.colorspace = model.color_range, model.colorspace
    target.color_primaries, target.color_trc = model.color_primaries, model.color_trc


class AsInt16:
    """Converts decoded sound to (n, C) int16 at one rate."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        import av

        self._channels = channels
        self._resampler = av.AudioResampler(format="s16", layout=LAYOUTS[channels], rate=rate_hz)

    def __call__(self, frame: "AudioFrame | None") -> Samples:
        """The samples of a chunk; None flushes the rest."""
        chunks = [_samples(part, self._channels) for part in self._resampler.resample(frame)]
        return np.concatenate(chunks) if chunks else np.empty((0, self._channels), np.int16)


def frame_of(samples: Samples, rate_hz: int, at: int) -> "AudioFrame":
    """Samples as a frame that starts at sample `at`."""
    import av

    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples).reshape(1, -1), format="s16", layout=LAYOUTS[samples.shape[1]]
    )
    frame.sample_rate = rate_hz
    frame.time_base = Fraction(1, rate_hz)
    frame.pts = at
    return frame


def faster(chunks: Iterable[Samples], factor: float, rate_hz: int, channels: int) -> Iterator[Samples]:
    """Sound at another tempo with the same pitch, about 1 / factor as long. Uses `atempo`, a few chunks at a time."""
    import av

    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_abuffer(format="s16", sample_rate=rate_hz, layout=LAYOUTS[channels], time_base=Fraction(1, rate_hz))
    tempo, sink = graph.add("atempo", repr(factor)), graph.add("abuffersink")
    graph.link_nodes(source, tempo, sink).configure()
    at = 0
    for chunk in chunks:
        if len(chunk):
            graph.push(frame_of(chunk, rate_hz, at))
            at += len(chunk)
            yield from _pulled(graph, channels)
    graph.push(None)
    yield from _pulled(graph, channels)


def resampled(chunks: Iterable[Samples], from_hz: int, to_hz: int, channels: int) -> Iterator[Samples]:
    """Sound at another rate and with another number of channels."""
    convert = AsInt16(to_hz, channels)
    at = 0
    for chunk in chunks:
        if len(chunk):
            yield convert(frame_of(chunk, from_hz, at))
            at += len(chunk)
    yield convert(None)


def _pulled(graph: Any, channels: int) -> Iterator[Samples]:
    import av

    while True:
        try:
            yield _samples(graph.pull(), channels)
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _samples(frame: Any, channels: int) -> Samples:
    samples: Samples = frame.to_ndarray().reshape(-1, channels)
    return samples
