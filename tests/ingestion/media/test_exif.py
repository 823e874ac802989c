"""EXIF fields from hand-made and Pillow-made blocks, and from damaged ones."""

import io
import struct
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from pipeline_assets.ingestion.media.containers import read_container
from pipeline_assets.ingestion.media.exif import MAX_ENTRIES, Exif, TiffBlock, parse_exif
from pipeline_assets.sample.odd_files import drawing, with_exif


def block(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    """A TIFF block of one directory, made by hand: entries as (tag, type, count, value bytes)."""
    out, tail_at = b"", 8 + 2 + 12 * len(entries) + 4
    tail = b""
    for tag, kind, count, value in entries:
        where = value.ljust(4, b"\0")
        if len(value) > 4:
            where = struct.pack(order + "I", tail_at + len(tail))
            tail += value
        out += struct.pack(order + "HHI", tag, kind, count) + where
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IH", 8, len(entries)) + out + b"\0\0\0\0" + tail


def text(tag: int, value: str) -> tuple[int, int, int, bytes]:
    data = value.encode() + b"\0"
    return tag, 2, len(data), data


def gps_block(latitude: tuple[int, ...], latitude_ref: str, longitude: tuple[int, ...], longitude_ref: str) -> bytes:
    """A block whose GPS directory holds these rationals, as (degrees, 1, minutes, 1, seconds, 100) and the like."""
    entry = struct.pack("<HHI", 0x8825, 4, 1) + struct.pack("<I", 26)
    rationals = struct.pack("<6I", *latitude) + struct.pack("<6I", *longitude)
    after = 26 + 2 + 4 * 12 + 4
    gps = (
        struct.pack("<H", 4)
        + struct.pack("<HHI4s", 1, 2, 2, latitude_ref.encode())
        + struct.pack("<HHII", 2, 5, 3, after)
        + struct.pack("<HHI4s", 3, 2, 2, longitude_ref.encode())
        + struct.pack("<HHII", 4, 5, 3, after + 24)
        + b"\0\0\0\0"
    )
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0\0\0\0" + gps + rationals


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(order: str) -> None:
    data = block(
        (0x112, 3, 1, struct.pack(order + "H", 6)),
        text(0x10F, "Canon"),
        text(0x110, "Canon EOS 5D"),
        text(0x132, "2024:05:06 07:08:09"),
        order=order,
    )

    assert parse_exif(data) == Exif(
        orientation=6, taken_at=datetime.fromisoformat("2024-05-06T07:08:09"), camera="Canon EOS 5D"
    )


def test_a_place_is_read_in_degrees_with_its_sign() -> None:
    data = gps_block((33, 1, 51, 1, 3540, 100), "S", (151, 1, 12, 1, 3600, 100), "E")

    found = parse_exif(data)

    assert found.latitude_deg == pytest.approx(-(33 + 51 / 60 + 35.4 / 3600))
    assert found.longitude_deg == pytest.approx(151 + 12 / 60 + 36 / 3600)


@pytest.mark.parametrize(
    ("latitude", "reference"),
    [
        ((91, 1, 0, 1, 0, 1), "N"),
        ((33, 0, 51, 1, 0, 1), "N"),
        ((33, 1, 51, 1, 0, 0), "N"),
        ((33, 1, 51, 1, 0, 1), "X"),
        ((2**32 - 1, 1, 0, 1, 0, 1), "S"),
    ],
)
def test_half_a_place_or_an_impossible_one_is_none(latitude: tuple[int, ...], reference: str) -> None:
    found = parse_exif(gps_block(latitude, reference, (10, 1, 0, 1, 0, 1), "E"))

    assert (found.latitude_deg, found.longitude_deg) == (None, None)


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("NIKON CORPORATION", "NIKON D200", "NIKON D200"),
        ("Apple", "iPhone 15", "Apple iPhone 15"),
        ("Apple", "", "Apple"),
        ("", "iPhone 15", "iPhone 15"),
        (" ", "", None),
        ("A\nB\x1b", "x" * 500, "A B " + "x" * 128),
    ],
)
def test_a_camera_is_make_and_model_without_repetition(make: str, model: str, camera: str | None) -> None:
    assert parse_exif(block(text(0x10F, make), text(0x110, model))).camera == camera


@pytest.mark.parametrize(
    "written", ["", "0000:00:00 00:00:00", "2024:02:30 10:00:00", "2024-05-06 07:08:09", "    :  :     :  :  ", "soon"]
)
def test_a_time_that_is_none_is_null(written: str) -> None:
    assert parse_exif(block(text(0x132, written))).taken_at is None


def test_what_pillow_writes_is_read_back_out_of_a_jpeg() -> None:
    taken = datetime.fromisoformat("2023-12-31T23:59:58")
    photo = with_exif(drawing(), orientation=8, taken_at=taken, camera=("Fuji", "X100"), position_deg=(-12.5, 130.8456))

    found = parse_exif(read_container(photo, "image/jpeg").exif or b"")

    assert (found.orientation, found.taken_at, found.camera) == (8, taken, "Fuji X100")
    assert found.latitude_deg == pytest.approx(-12.5, abs=1e-5)
    assert found.longitude_deg == pytest.approx(130.8456, abs=1e-5)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF"])
def test_other_formats_carry_the_same_fields(image_format: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    exif[ExifTags.Base.Make] = "Pentax"
    out = io.BytesIO()
    drawing().save(out, image_format, exif=exif)

    still = read_container(out.getvalue(), f"image/{image_format.lower()}")

    assert parse_exif(still.exif or b"") == Exif(orientation=3, camera="Pentax")


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_an_orientation_out_of_range_is_null(orientation: int) -> None:
    assert parse_exif(block((0x112, 3, 1, struct.pack("<H", orientation)))).orientation is None


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"Exif\0\0",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"MM\0*\0\0\0\x08\0\x01",
        block((0x8769, 4, 1, struct.pack("<I", 8))),
        block((0x8825, 4, 1, struct.pack("<I", 2**32 - 1))),
        block((0x10F, 2, 2**32 - 1, b"abcde")),
        block((0x10F, 99, 5, b"abcde")),
    ],
)
def test_damage_costs_fields_and_never_raises(damaged: bytes) -> None:
    assert parse_exif(damaged) == Exif()


def test_no_more_entries_are_read_than_the_bound() -> None:
    entries = [(1_000 + i, 3, 1, b"\1\0") for i in range(2 * MAX_ENTRIES)]

    assert len(TiffBlock(block(*entries)).directory(8)[0]) == MAX_ENTRIES


@settings(deadline=None)
@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
def test_any_bytes_and_any_damage_give_fields_in_range(noise: bytes, damage: list[tuple[int, int]]) -> None:
    good = bytearray(gps_block((33, 1, 51, 1, 3540, 100), "S", (151, 1, 12, 1, 3600, 100), "E") + noise)
    for at, value in damage:
        good[at % len(good)] = value
    for found in (parse_exif(noise), parse_exif(b"II*\0" + noise), parse_exif(bytes(good))):
        assert found.orientation in (None, *range(1, 9))
        assert found.latitude_deg is None or -90 <= found.latitude_deg <= 90
        assert found.longitude_deg is None or -180 <= found.longitude_deg <= 180
