"""Recordings in which nothing moves are honest, however few bytes their pictures have."""

import io
from fractions import Fraction

import av
import pytest

from pipeline_assets.ingestion.media.inspection import inspect

RATE, GROUP, GROUPS = 30, 250, 6


def black_recording(width: int, height: int) -> bytes:
    """50 s as x264 encodes them, with a keyframe every 250 pictures."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", "mp4") as container:
        stream = container.add_stream("libx264", RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        black = av.VideoFrame(width, height, "yuv420p")
        for plane, value in zip(black.planes, (16, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        packets = []
        for number in range(GROUP):
            black.pts, black.time_base = number, Fraction(1, RATE)
            packets += stream.encode(black)
        packets += stream.encode()
        times = [(packet.pts, packet.dts) for packet in packets]
        for group in range(GROUPS):
            for packet, (pts, dts) in zip(packets, times, strict=True):
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base, copy.is_keyframe = stream, Fraction(1, RATE), packet.is_keyframe
                copy.pts, copy.dts = pts + group * GROUP, dts + group * GROUP
                container.mux(copy)
    return buffer.getvalue()


@pytest.mark.slow
def test_a_recording_in_which_nothing_moves_is_ok() -> None:
    found = inspect(black_recording(1_920, 1_080), "screen.mp4")
    assert (found.verdict, found.duration_s) == ("ok", 50.0), found.verdict_detail
