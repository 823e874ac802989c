"""Verdicts and facts of uploads, on real pictures of every format and on bad ones by the dozen."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline_assets.classify.decode import decode_upright
from pipeline_assets.ingestion.media.inspection import Inspection, Limits, inspect, rejected_without_bytes
from pipeline_assets.ingestion.media.media_types import claimed, sniff
from pipeline_assets.ingestion.verdicts import VERDICTS
from pipeline_assets.sample.odd_files import animation, bomb_png, drawing, encoded, odd_files, truncated, with_exif

PHOTOS = Path(__file__).parents[3].parent / "shared" / "photos"
JPEG = encoded(drawing(), "JPEG", quality=90)
PROGRESSIVE = encoded(drawing(), "JPEG", quality=90, progressive=True)
PNG = encoded(drawing(), "PNG")
GIF = encoded(drawing(), "GIF")
TIFF = encoded(drawing(), "TIFF")
TIFF_LZW = encoded(drawing(), "TIFF", compression="tiff_lzw")
WEBP = encoded(drawing(), "WEBP", quality=90)
WEBP_LOSSLESS = encoded(drawing(), "WEBP", lossless=True)
BMP = encoded(drawing(), "BMP")
AVIF = encoded(drawing(), "AVIF")
HEIC_FILES = Path(__file__).parent / "heic"
"""The same drawing from an encoder that is not among the requirements: upright; stored turned, with `irot` and EXIF
orientation 6 as phones write it; with its left half clear; and as the first of two pictures."""
HEIC, TURNED_HEIC, CLEAR_HEIC, TWO_HEIC = (
    (HEIC_FILES / f"{name}.heic").read_bytes() for name in ("upright", "turned", "half_clear", "two")
)
JP2 = encoded(drawing(), "JPEG2000", quality_mode="rates", quality_layers=[10])
J2K = encoded(drawing(), "JPEG2000", no_jp2=True)
STILLS = {
    "a.jpg": JPEG,
    "progressive.JPEG": PROGRESSIVE,
    "a.png": PNG,
    "a.gif": GIF,
    "a.tif": TIFF,
    "lzw.tiff": TIFF_LZW,
    "a.webp": WEBP,
    "lossless.webp": WEBP_LOSSLESS,
    "a.bmp": BMP,
    "a.avif": AVIF,
    "a.heic": HEIC,
    "turned.HEIF": TURNED_HEIC,
    "two.heic": TWO_HEIC,
    "a.jp2": JP2,
    "a.j2k": J2K,
}
EXIF_HEAD = b"II*\0\x08\0\0\0\x01\0"


def distance(first: str | None, second: str | None) -> int:
    return (int(first or "", 16) ^ int(second or "", 16)).bit_count()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks: bytes) -> bytes:
    """A good PNG with further chunks after its header."""
    return PNG[:33] + b"".join(chunks) + PNG[33:]


@pytest.mark.parametrize("name", STILLS)
def test_a_still_of_every_format_is_ok_with_all_facts(name: str) -> None:
    found = inspect(STILLS[name], f"uploads/2026-01-02/7/{name}")

    assert (found.verdict, found.verdict_detail) == ("ok", None)
    assert (found.width_px, found.height_px) == (200, 150)
    assert found.media_type == claimed(name)
    assert found.mode in ("RGB", "P")


@pytest.mark.parametrize("name", STILLS)
def test_the_hash_is_that_of_the_picture_decoded_whole(name: str) -> None:
    with Image.open(io.BytesIO(STILLS[name])) as image:
        expected = str(imagehash.phash(image.convert("RGB")))

    assert distance(inspect(STILLS[name], name).phash, expected) <= 4


@pytest.mark.parametrize("name", [name for name in STILLS if name != "a.gif"])
def test_the_same_picture_is_near_itself_in_every_format_of_full_colour(name: str) -> None:
    assert distance(inspect(STILLS[name], name).phash, inspect(PNG, "a.png").phash) <= 4


def test_every_odd_file_gets_a_right_verdict() -> None:
    verdicts = [(odd, inspect(odd.data, odd.name).verdict) for odd in odd_files()]

    assert {odd.name: verdict for odd, verdict in verdicts if verdict not in odd.verdicts} == {}


@pytest.mark.parametrize("keep", [0.05, 0.3, 0.6, 0.95, 0.995, 0.9999])
@pytest.mark.parametrize("name", STILLS)
def test_a_picture_cut_short_is_truncated(name: str, keep: float) -> None:
    found = inspect(truncated(STILLS[name], keep), name)

    assert found.verdict == "truncated"
    assert found.verdict_detail


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95, 0.995])
def test_real_photos_cut_short_are_truncated(keep: float) -> None:
    if not PHOTOS.exists():
        pytest.skip("no ../shared/photos beside the repository")
    for path in sorted(PHOTOS.glob("*.JPEG"))[::20]:
        assert inspect(truncated(path.read_bytes(), keep), path.name).verdict == "truncated"


def test_real_photos_are_ok_and_near_their_own_hash() -> None:
    if not PHOTOS.exists():
        pytest.skip("no ../shared/photos beside the repository")
    for path in sorted(PHOTOS.glob("*.JPEG"))[::10]:
        found = inspect(path.read_bytes(), path.name)
        with Image.open(path) as image:
            assert found.verdict == "ok"
            assert (found.width_px, found.height_px) == image.size
            assert distance(found.phash, str(imagehash.phash(image))) <= 4


def half_clear() -> Image.Image:
    image = drawing().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 100, 150))
    return image


MODES: dict[str, tuple[Callable[[], bytes], str]] = {
    "cmyk.jpg": (lambda: encoded(drawing().convert("CMYK"), "JPEG"), "CMYK"),
    "grey.jpg": (lambda: encoded(drawing().convert("L"), "JPEG"), "L"),
    "one-bit.png": (lambda: encoded(drawing().convert("1"), "PNG"), "1"),
    "palette.png": (lambda: encoded(drawing().quantize(32), "PNG"), "P"),
    "rgba.png": (lambda: encoded(drawing().convert("RGBA"), "PNG"), "RGBA"),
    "la.png": (lambda: encoded(drawing().convert("LA"), "PNG"), "LA"),
    "clear.gif": (lambda: encoded(drawing().quantize(32), "GIF", transparency=3), "P"),
    "sixteen.png": (lambda: encoded(Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16), "PNG"), "I;16"),
    "sixteen.tif": (lambda: encoded(Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16), "TIFF"), "I;16"),
    "cmyk.tif": (lambda: encoded(drawing().convert("CMYK"), "TIFF"), "CMYK"),
    "ycbcr.tif": (lambda: encoded(drawing().convert("YCbCr"), "TIFF"), "YCbCr"),
    "rgba.webp": (lambda: encoded(half_clear(), "WEBP"), "RGBA"),
    "one-bit.bmp": (lambda: encoded(drawing().convert("1"), "BMP"), "1"),
}


@pytest.mark.parametrize("name", MODES)
def test_every_mode_that_converts_is_ok_and_named(name: str) -> None:
    build, mode = MODES[name]

    found = inspect(build(), name)

    assert (found.verdict, found.mode) == ("ok", mode)
    assert found.phash is not None


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_a_mode_without_an_agreed_conversion_is_quarantined(mode: str) -> None:
    image = Image.new(mode, (32, 32)) if mode == "LAB" else drawing(32, 32).convert("L").convert(mode)

    found = inspect(encoded(image, "TIFF"), "a.tif")

    assert (found.verdict, found.mode, found.width_px) == ("unsupported_mode", mode, 32)


def test_sixteen_bits_keep_their_picture() -> None:
    grey = drawing().convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)

    assert inspect(encoded(deep, "PNG"), "a.png").phash == inspect(encoded(grey, "PNG"), "a.png").phash


def test_what_is_hidden_by_transparency_does_not_count() -> None:
    left, right = (np.asarray(drawing(seed=seed).convert("RGBA")).copy() for seed in (1, 2))
    shown = np.asarray(drawing(seed=3).convert("RGBA"))
    for pixels in (left, right):
        pixels[:, 60:, 3] = 0
        pixels[:, :60] = shown[:, :60]

    hashes = [inspect(encoded(Image.fromarray(pixels), "PNG"), "a.png").phash for pixels in (left, right)]

    assert distance(*hashes) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_hash_are_those_of_the_upright_picture(orientation: int) -> None:
    turned = with_exif(drawing(), orientation=orientation)
    with Image.open(io.BytesIO(turned)) as stored:
        upright = ImageOps.exif_transpose(stored)

    found = inspect(turned, "a.jpg")

    assert found.orientation == orientation
    assert (found.width_px, found.height_px) == upright.size
    assert distance(found.phash, str(imagehash.phash(upright))) <= 4


def test_a_photo_of_a_phone_is_turned_once_and_keeps_its_facts() -> None:
    found = inspect(TURNED_HEIC, "IMG_0001.HEIC")

    assert (found.verdict, found.width_px, found.height_px, found.orientation) == ("ok", 200, 150, 1)
    assert (found.camera, found.taken_at) == ("Maker Phone 1", datetime.fromisoformat("2026-01-02T03:04:05"))
    assert distance(found.phash, inspect(PNG, "a.png").phash) <= 4


def jp2_with_exif(orientation: int, *, is_behind: bool = False) -> bytes:
    """A JP2 with EXIF as exiftool writes it, before or behind the picture."""
    exif = Image.Exif()
    exif[0x112], exif[0x110] = orientation, "Scanner 1"
    body = b"JpgTiffExif->JP2" + exif.tobytes().removeprefix(b"Exif\0\0")
    box = struct.pack(">I4s", 8 + len(body), b"uuid") + body
    if is_behind:
        at = JP2.index(b"jp2c") - 4
        picture = struct.pack(">I", len(JP2) - at) + JP2[at + 4 :]
        return JP2[:at] + picture + box
    return JP2[:32] + box + JP2[32:]


@pytest.mark.parametrize("is_behind", [False, True])
def test_a_jpeg_2000_is_turned_as_its_exif_says_by_all_that_read_it(is_behind: bool) -> None:
    data = jp2_with_exif(6, is_behind=is_behind)

    found = inspect(data, "a.jp2")
    shown = decode_upright(data, 16)

    assert (found.verdict, found.orientation, found.camera) == ("ok", 6, "Scanner 1")
    assert (found.width_px, found.height_px) == (shown.width_px, shown.height_px) == (150, 200)
    assert distance(found.phash, str(imagehash.phash(drawing().transpose(Image.Transpose.ROTATE_270)))) <= 4


def test_what_is_clear_in_a_heic_shows_white() -> None:
    shown = decode_upright(CLEAR_HEIC, 16).pixels

    assert inspect(CLEAR_HEIC, "a.heic").mode == "RGBA"
    assert shown[:, :95].min() == 255
    assert shown[:, 105:].min() < 255


@pytest.mark.parametrize("name", STILLS)
def test_every_format_that_is_ok_is_shown_the_same_by_the_classifiers(name: str) -> None:
    shown = decode_upright(STILLS[name], 150)

    assert (shown.width_px, shown.height_px) == (200, 150)
    assert distance(str(imagehash.phash(Image.fromarray(shown.pixels))), inspect(STILLS[name], name).phash) <= 4


@pytest.mark.parametrize("brand", [b"hevc", b"msf1"])
def test_a_sequence_of_heic_pictures_is_animated(brand: bytes) -> None:
    assert inspect(HEIC[:8] + brand + HEIC[12:], "a.heics").verdict == "animated"


def test_exif_facts_are_kept_for_a_quarantined_photo_too() -> None:
    taken = datetime.fromisoformat("2024-05-06T07:08:09")
    photo = with_exif(drawing(), taken_at=taken, camera=("Canon", "EOS"), position_deg=(48.2, -16.4))

    found = inspect(truncated(photo, 0.9), "a.jpg")

    assert (found.verdict, found.taken_at, found.camera, found.phash) == ("truncated", taken, "Canon EOS", None)
    assert (found.latitude_deg, found.longitude_deg) == (pytest.approx(48.2), pytest.approx(-16.4))


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_moving_pictures_are_animated(image_format: str) -> None:
    found = inspect(animation(image_format), "a")

    assert found.verdict == "animated"
    assert "frames" in (found.verdict_detail or "")


def test_pages_of_a_tiff_are_called_pages() -> None:
    found = inspect(animation("TIFF"), "a.tif")

    assert found.verdict == "animated"
    assert "pages" in (found.verdict_detail or "")


@pytest.mark.parametrize("image_format", ["GIF", "WEBP"])
def test_an_animation_of_one_frame_is_a_photo(image_format: str) -> None:
    assert inspect(animation(image_format, frames=1), "a").verdict == "ok"


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("a.jpg", "ok"),
        ("a.JPG", "ok"),
        ("a.jpeg", "ok"),
        ("a.jpe", "ok"),
        ("a", "ok"),
        ("a.", "ok"),
        (".jpg", "ok"),
        ("a.photo", "ok"),
        ("a.png.jpg", "ok"),
        ("trip.png/a", "ok"),
        ("a.png", "wrong_extension"),
        ("a.GIF", "wrong_extension"),
        ("a.tif", "wrong_extension"),
        ("a.heic", "wrong_extension"),
        ("a.txt", "wrong_extension"),
        ("a.pdf", "wrong_extension"),
        ("a.mp4", "wrong_extension"),
    ],
)
def test_a_name_may_say_nothing_but_not_another_type(name: str, verdict: str) -> None:
    assert inspect(JPEG, name).verdict == verdict


@pytest.mark.parametrize(
    ("head", "media_type", "verdict"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic", "truncated"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2", "truncated"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl", "unsupported_format"),
        (b"8BPS\0\1", "image/vnd.adobe.photoshop", "unsupported_format"),
        (b"II+\0\x08\0\0\0", "image/tiff", "unsupported_format"),
        (b"\0\0\1\0\1\0", "image/vnd.microsoft.icon", "unsupported_format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", "unsupported_format"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<svg>", "image/svg+xml", "unsupported_format"),
        (b"<?xml version='1.0'?><note/>", "application/xml", "not_an_image"),
        (b"<!DOCTYPE html><html>", "text/html", "not_an_image"),
        (b"%PDF-1.7\n", "application/pdf", "not_an_image"),
        (b"PK\3\4\x14\0", "application/zip", "not_an_image"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isom", "video/mp4", "undecodable"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav", "undecodable"),
        (b"Dear diary,\n", "text/plain", "not_an_image"),
        ("\ufeffLiebes Tagebuch, heute wär's schön.".encode(), "text/plain", "not_an_image"),
        ("ä".encode() * 5_000, "text/plain", "not_an_image"),
        (b"x" + "ä".encode() * 5_000, "text/plain", "not_an_image"),
        (b"\x7fELF\2\1\1\0", "application/octet-stream", "not_an_image"),
        (b"\0" * 5_000, "application/octet-stream", "not_an_image"),
        (b"\xff\xfe", "application/octet-stream", "not_an_image"),
        (b"BM", "text/plain", "not_an_image"),
    ],
)
def test_the_bytes_say_what_a_file_is(head: bytes, media_type: str, verdict: str) -> None:
    found = inspect(head, "a.jpg")

    assert (found.media_type, found.verdict) == (media_type, verdict)


def test_limits_are_kept() -> None:
    assert inspect(JPEG, "a.jpg", Limits(max_bytes=len(JPEG))).verdict == "ok"
    assert inspect(JPEG, "a.jpg", Limits(max_bytes=len(JPEG) - 1)).verdict == "too_large"
    assert inspect(JPEG, "a.jpg", Limits(max_pixels=30_000)).verdict == "ok"
    assert inspect(JPEG, "a.jpg", Limits(max_pixels=29_999)).verdict == "too_many_pixels"
    assert inspect(JPEG, "a.jpg", Limits(min_side_px=150)).verdict == "ok"
    assert inspect(JPEG, "a.jpg", Limits(min_side_px=151)).verdict == "too_small"


def gif_of_size(width: int, height: int) -> bytes:
    return GIF[:6] + struct.pack("<HH", width, height) + GIF[10:]


def jpeg_of_size(width: int, height: int) -> bytes:
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


BOMBS: dict[str, Callable[[], bytes]] = {
    "png": bomb_png,
    "png of the largest size": lambda: bomb_png(2**31 - 1, 2**31 - 1),
    "gif": lambda: gif_of_size(65_535, 65_535),
    "jpeg": lambda: jpeg_of_size(65_500, 65_500),
    "bmp": lambda: BMP[:18] + struct.pack("<ii", 100_000, -100_000) + BMP[26:],
    "webp": lambda: WEBP[:26] + struct.pack("<HH", 16_383, 16_383) + WEBP[30:],
    "lossless webp": lambda: WEBP_LOSSLESS[:21] + struct.pack("<I", 0x0FFF_FFFF) + WEBP_LOSSLESS[25:],
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_declared_size_beyond_the_limit_is_refused_before_decoding(name: str) -> None:
    found = inspect(BOMBS[name](), "a")

    assert found.verdict == "too_many_pixels"
    assert found.width_px is not None


def slow_gif() -> bytes:
    """A comment of a million sub-blocks of one byte: Pillow joins them one by one."""
    return GIF[: 13 + 768] + b"!\xfe" + b"\1x" * 1_000_000 + b"\0" + GIF[13 + 768 :]


def jpeg_of_many_scans() -> bytes:
    scan = PROGRESSIVE[PROGRESSIVE.index(b"\xff\xda") : PROGRESSIVE.index(b"\xff\xd9")]
    return PROGRESSIVE[:-2] + scan * 50 + b"\xff\xd9"


def tiff_loop() -> bytes:
    """Directories whose chain comes back to the first."""
    first = struct.unpack_from("<I", TIFF, 4)[0]
    count = struct.unpack_from("<H", TIFF, first)[0]
    end = first + 2 + 12 * count
    return TIFF[:end] + struct.pack("<I", first) + TIFF[end + 4 :]


HARMLESS: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "text that inflates": (
        lambda: png_with(png_chunk(b"zTXt", b"x\0\0" + zlib.compress(b"\0" * 8_000_000)) * 50),
        {"ok"},
    ),
    "a profile that inflates": (lambda: png_with(png_chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 50_000_000))), {"ok"}),
    "two animation headers": (lambda: png_with(png_chunk(b"acTL", bytes(8)), png_chunk(b"acTL", bytes(8))), {"ok"}),
    "an animation of 2^32-1 frames": (lambda: png_with(png_chunk(b"acTL", b"\xff" * 8)), {"animated"}),
    "a broken exif chunk": (lambda: png_with(png_chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")), {"ok"}),
    "a slow comment": (slow_gif, {"unsupported_format"}),
    "many scans": (jpeg_of_many_scans, {"unsupported_format"}),
    "a loop of directories": (tiff_loop, {"ok"}),
    "a million empty chunks": (lambda: png_with(png_chunk(b"teSt", b"") * 1_000_000), {"truncated"}),
    "exif of 65,535 entries": (
        lambda: JPEG[:2] + b"\xff\xe1\xff\xfdExif\0\0" + EXIF_HEAD[:8] + b"\xff\xff" * 32_760 + b"\0" + JPEG[2:],
        {"ok", "truncated"},
    ),
    "a run-length bitmap": (lambda: BMP[:30] + struct.pack("<I", 1) + BMP[34:], {"unsupported_format"}),
    "no side": (lambda: bomb_png(0, 10), {"truncated"}),
    "text after the end": (lambda: JPEG + b"<?php system($_GET['x']); ?>", {"ok"}),
    "a second picture after the end": (lambda: JPEG + PNG, {"ok"}),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_trap_costs_little_and_gets_a_verdict(name: str) -> None:
    build, verdicts = HARMLESS[name]

    assert inspect(build(), "a").verdict in verdicts


def test_a_phone_photo_with_a_second_picture_in_it_is_one_still() -> None:
    """MPO: what phones write for depth or HDR."""
    out = io.BytesIO()
    drawing().save(out, "MPO", save_all=True, append_images=[drawing(seed=1)])

    assert inspect(out.getvalue(), "a.jpg").verdict == "ok"


@given(st.binary(max_size=400), st.sampled_from([b"", *(data[:24] for data in STILLS.values())]))
@settings(deadline=None)
def test_any_bytes_get_exactly_one_verdict(noise: bytes, head: bytes) -> None:
    assert inspect(head + noise, "a.jpg").verdict in VERDICTS


def damaged_copies(data: bytes, copies: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for _ in range(copies):
        copy = bytearray(data)
        for _ in range(chance.randint(1, 12)):
            # Half of the damage falls into the headers, where it matters most.
            at = chance.randrange(min(len(copy), 400)) if chance.random() < 0.5 else chance.randrange(len(copy))
            match chance.randrange(4):
                case 0:
                    copy[at] = chance.randrange(256)
                case 1:
                    copy[at : at + 4] = chance.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
                case 2:
                    del copy[at : at + chance.randint(1, 40)]
                case _:
                    copy[at:at] = chance.randbytes(chance.randint(1, 40))
        yield bytes(copy)


@pytest.mark.parametrize("name", STILLS)
def test_damaged_pictures_get_exactly_one_verdict(name: str) -> None:
    limits = Limits(max_pixels=4_000_000)
    for data in damaged_copies(STILLS[name], 60, seed=len(name)):
        found = inspect(data, name, limits)
        assert found.verdict in VERDICTS
        assert (found.phash is not None) == (found.verdict == "ok")


def test_the_answer_is_the_same_each_time() -> None:
    assert inspect(JPEG, "a.jpg") == inspect(JPEG, "a.jpg")


def test_an_object_that_was_not_read_has_its_reason_and_nothing_else() -> None:
    assert rejected_without_bytes("gone") == Inspection("gone", VERDICTS["gone"])
    assert rejected_without_bytes("bad_key", "it holds '..'").verdict_detail == "it holds '..'"


@pytest.mark.parametrize("verdict", ["ok", "lost", ""])
def test_a_reason_must_be_one_of_quarantine(verdict: str) -> None:
    with pytest.raises(ValueError, match="no quarantine reason"):
        rejected_without_bytes(verdict)


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_sniffing_never_raises(data: bytes) -> None:
    assert "/" in sniff(data)
