"""Sound and video as uploads: what is `ok`, and why anything else is not."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from pipeline_assets.ingestion.media.inspection import inspect


def sound(seconds: float, kind: str = "WAV", rate: int = 8_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(int(seconds * rate)) / 9).astype(np.float32) / 2, rate, format=kind)
    return file.getvalue()


def video(pictures: int, side: int = 64, container: str = "mp4", codec: str = "libx264") -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=Fraction(25))
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for number in range(pictures):
            pixels = np.full((side, side, 3), number * 9 % 255, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        out.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "media_type", "name"),
    [
        ("WAV", "audio/wav", "a.wav"),
        ("FLAC", "audio/flac", "a.flac"),
        ("OGG", "audio/ogg", "a.ogg"),
        ("MP3", "audio/mpeg", "a.mp3"),
        ("AIFF", "audio/aiff", "a.aiff"),
        ("AIFF", "audio/aiff", "a.aif"),
        ("AU", "audio/basic", "a.au"),
        ("CAF", "audio/x-caf", "a.caf"),
        ("W64", "audio/x-w64", "a.w64"),
        ("RF64", "audio/wav", "a.wav"),
        ("NIST", "audio/x-nist", "a.sph"),
        ("VOC", "audio/x-voc", "a.voc"),
        ("SVX", "audio/x-8svx", "a.8svx"),
    ],
)
def test_a_recording_is_usable_and_its_length_is_known(kind: str, media_type: str, name: str) -> None:
    found = inspect(sound(1.5, kind), name)
    assert (found.verdict, found.media_type) == ("ok", media_type)
    assert found.duration_s == pytest.approx(1.5, abs=0.2 if kind == "MP3" else 0.001)
    assert found.phash is None


@pytest.mark.parametrize(("container", "codec", "name"), [("mp4", "libx264", "a.mp4"), ("webm", "libvpx-vp9", "a.webm")])
def test_a_video_is_usable_and_its_size_is_known(container: str, codec: str, name: str) -> None:
    found = inspect(video(10, 64, container, codec), name)
    assert (found.verdict, found.width_px, found.height_px) == ("ok", 64, 64)
    assert found.duration_s == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    ("data", "name", "verdict"),
    [
        (sound(1)[:60], "a.wav", "ok"),  # a header that says more than there is: what is there is read
        (sound(1)[:44], "a.wav", "truncated"),
        (sound(1, "FLAC")[:100], "a.flac", "undecodable"),
        (b"fLaC" + b"\xff" * 500, "a.flac", "undecodable"),
        (b"ID3" + bytes(500), "a.mp3", "undecodable"),
        (video(10)[:400], "a.mp4", "undecodable"),
        (b"\x1aE\xdf\xa3" + bytes(300), "a.webm", "undecodable"),
        (video(10, 8), "a.mp4", "too_small"),
        (sound(1), "a.jpg", "wrong_extension"),
        (video(5), "a.wav", "wrong_extension"),
    ],
)
def test_what_is_wrong_with_others(data: bytes, name: str, verdict: str) -> None:
    found = inspect(data, name)
    assert found.verdict == verdict, found.verdict_detail
    assert found.sha256


@pytest.mark.parametrize("make", [sound, video])
def test_no_cut_of_a_file_ends_anything(make: object) -> None:
    data = sound(0.5, "FLAC") if make is sound else video(12)
    for end in range(1, len(data), max(1, len(data) // 40)):
        assert inspect(data[:end], "a").verdict in {"ok", "undecodable", "truncated", "not_an_image"}


@pytest.mark.parametrize(("kind", "subtype", "media_type"), [("OGG", "VORBIS", "audio/ogg"), ("OGG", "OPUS", "audio/ogg")])
def test_sound_in_ogg_is_told_from_other_ogg(kind: str, subtype: str, media_type: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(8_000) / 9) / 2, 8_000, format=kind, subtype=subtype)
    data = file.getvalue()
    assert inspect(data, "a.ogg").media_type == media_type
    other = inspect(data[:28] + b"\x80theora" + data[35:], "a")
    assert (other.media_type, other.verdict) == ("application/ogg", "not_an_image")


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["WAV", "AIFF", "CAF", "AU", "W64"])
def test_a_recording_with_samples_that_are_no_numbers_is_set_aside_with_its_reason(
    kind: str, value: float, subtype: str
) -> None:
    samples = np.sin(np.arange(100_000) / 9) / 2
    samples[90_000] = value
    file = io.BytesIO()
    soundfile.write(file, samples, 8_000, format=kind, subtype=subtype)
    found = inspect(file.getvalue(), "a")
    assert (found.verdict, "not finite" in (found.verdict_detail or "")) == ("bad_samples", True)
    assert found.sha256


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\0\0\0\x18ftypM4A \0\0\0\0", "audio/mp4"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"#!AMR\n", "audio/amr"),
        (b"MThd\0\0\0\6", "audio/midi"),
    ],
)
def test_sound_that_is_not_read_has_its_true_type_and_is_no_bad_image(head: bytes, media_type: str) -> None:
    found = inspect(head + bytes(100), "a")
    assert (found.media_type, found.verdict) == (media_type, "undecodable")
