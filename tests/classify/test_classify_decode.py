import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_network import SHARED_PHOTOS, encoded, noise

from pipeline_assets.classify.decode import _to_rgb, decode
from pipeline_assets.classify.model_files import Preprocessing
from pipeline_assets.errors import BadImage
from pipeline_assets.ingestion.verdicts import VERDICTS

STEPS = Preprocessing()
ORANGE = (255, 128, 0)


def quadrants(width: int = 320, height: int = 280) -> Image.Image:
    """Red, green over blue, white: which side is up can be seen."""
    image = Image.new("RGB", (width, height), "white")
    image.paste((255, 0, 0), (0, 0, width // 2, height // 2))
    image.paste((0, 255, 0), (width // 2, 0, width, height // 2))
    image.paste((0, 0, 255), (0, height // 2, width // 2, height))
    return image


def corners(scaled: np.ndarray) -> list[tuple[int, ...]]:
    height, width, _ = scaled.shape
    at = [(10, 10), (10, width - 10), (height - 10, 10), (height - 10, width - 10)]
    return [tuple(int(v > 127) for v in scaled[y, x]) for y, x in at]


def reason(data: bytes) -> str:
    with pytest.raises(BadImage) as caught:
        decode(data, STEPS)
    assert caught.value.reason in VERDICTS
    return caught.value.reason


@pytest.mark.parametrize(
    ("size", "scaled"),
    [((512, 256), (512, 256)), ((640, 480), (341, 256)), ((480, 640), (256, 341)), ((16, 16), (256, 256)),
     ((300, 300), (256, 256)), ((1600, 17), (4096, 256)), ((17, 1600), (256, 4096))],
)  # fmt: skip
def test_the_short_side_becomes_256_and_the_crop_224(size, scaled):
    photo = decode(encoded(Image.new("RGB", size, ORANGE)), STEPS)
    assert photo.scaled.shape == (scaled[1], scaled[0], 3) and photo.scaled.dtype == np.uint8
    assert photo.crop.shape == (3, 224, 224) and photo.crop.dtype == np.uint8
    assert (photo.width_px, photo.height_px) == size
    assert (photo.crop == np.array(ORANGE)[:, None, None]).all()


def test_the_crop_is_the_centre_of_the_scaled_photo():
    photo = decode(noise(1, 400, 300), STEPS)
    height, width, _ = photo.scaled.shape
    top, left = (height - 224) // 2, (width - 224) // 2
    np.testing.assert_array_equal(photo.crop, photo.scaled[top : top + 224, left : left + 224].transpose(2, 0, 1))


def test_a_model_of_another_size_gets_its_own_scaling_and_styles_keep_theirs():
    photo = decode(noise(1, 400, 300), Preprocessing(320, 288))
    assert photo.scaled.shape == (256, 341, 3)
    assert photo.crop.shape == (3, 288, 288)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG", "AVIF", "JPEG2000"])
def test_each_format_shows_the_same_picture(image_format):
    assert corners(decode(encoded(quadrants(), image_format), STEPS).scaled) == [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr"])
def test_each_mode_becomes_8_bit_rgb_of_the_same_picture(mode):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(quadrants().convert("L")).astype(np.uint16) * 257)
    else:
        image = quadrants().convert(mode)
    image_format = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    data = encoded(image, image_format)
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.mode == mode
    # Red, green, blue, white have the luma 76, 150, 29, 255: dark, light, dark, light.
    grey = [(0, 0, 0), (1, 1, 1), (0, 0, 0), (1, 1, 1)]
    coloured = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
    expected = grey if mode in ("L", "LA", "I;16") else coloured
    assert corners(decode(data, STEPS).scaled) == expected


def test_black_and_white_pixels_stay_so():
    image = Image.new("1", (256, 256), 1)
    image.paste(0, (0, 0, 128, 256))
    assert corners(decode(encoded(image), STEPS).scaled) == [(0, 0, 0), (1, 1, 1)] * 2


def test_a_cmyk_jpeg_is_not_inverted():
    photo = decode(encoded(Image.new("RGB", (64, 64), (250, 20, 20)).convert("CMYK"), "JPEG", quality=95), STEPS)
    red, green, blue = photo.scaled.reshape(-1, 3).mean(0)
    assert red > 230 and green < 60 and blue < 60


def test_sixteen_bit_grey_keeps_its_high_byte():
    ramp = (np.arange(256, dtype=np.uint16) * 256 + 255)[None, :].repeat(256, axis=0)
    scaled = decode(encoded(Image.fromarray(ramp)), STEPS).scaled
    np.testing.assert_array_equal(scaled[0, :, 0], np.arange(256))


@pytest.mark.parametrize(("alpha", "expected"), [(0, 255), (255, 0), (128, 127)])
def test_transparency_lies_on_white(alpha, expected):
    photo = decode(encoded(Image.new("RGBA", (64, 64), (0, 0, 0, alpha))), STEPS)
    assert (photo.scaled == expected).all()


def test_a_transparent_palette_colour_shows_white():
    image = Image.new("P", (64, 64), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert (decode(encoded(image, transparency=1), STEPS).scaled == 255).all()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_ends_upright(image_format, orientation):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = quadrants() if orientation == 1 else quadrants().transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = decode(encoded(stored, image_format, exif=exif.tobytes()), STEPS)
    assert corners(photo.scaled) == [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
    assert (photo.width_px, photo.height_px) == (320, 280)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")  # Pillow's word on the same damage
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_damaged_exif_does_not_cost_the_photo(exif):
    assert corners(decode(encoded(quadrants(), "JPEG", exif=exif), STEPS).scaled)[0] == (1, 0, 0)


def test_a_large_jpeg_is_decoded_small_and_keeps_its_true_size():
    photo = decode(encoded(quadrants(2400, 1800), "JPEG"), STEPS)
    assert (photo.width_px, photo.height_px) == (2400, 1800)
    assert corners(photo.scaled) == [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)]


def test_a_phones_mpo_is_one_photo():
    data = encoded(quadrants(), "MPO", save_all=True, append_images=[Image.new("RGB", (32, 32))])
    assert corners(decode(data, STEPS).scaled)[0] == (1, 0, 0)


@pytest.mark.parametrize("data", [b"hello", b"%PDF-1.7", b"\xff\xd8\xff", b"\0" * 100, b"<svg/>"])
def test_what_is_no_image_is_named_so(data):
    assert reason(data) in ("not_an_image", "truncated")


def test_zero_bytes_are_empty():
    assert reason(b"") == "empty"


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_half_a_photo_is_truncated(image_format, share):
    data = noise(2)
    whole = encoded(Image.open(io.BytesIO(data)), image_format)
    assert reason(whole[: int(len(whole) * share)]) in ("truncated", "not_an_image")


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_more_than_one_frame_is_animated(image_format):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    assert reason(encoded(frames[0], image_format, save_all=True, append_images=frames[1:])) == "animated"


@pytest.mark.parametrize("size", [(15, 100), (100, 15), (1, 1)])
def test_a_side_below_16_pixels_is_too_small(size):
    assert reason(encoded(Image.new("RGB", size))) == "too_small"


@pytest.mark.parametrize("side", [10_000, 40_000, 2_000_000_000])
def test_a_declared_bomb_is_refused_before_it_is_unpacked(side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    assert reason(data) == "too_many_pixels"


def test_floating_point_pixels_have_no_agreed_range():
    assert reason(encoded(Image.new("F", (64, 64), 0.5), "TIFF")) == "unsupported_mode"


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 8), st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]))
def test_damage_anywhere_is_a_reason_or_a_photo_never_another_error(seed, flips, image_format):
    rng = np.random.default_rng(seed)
    data = bytearray(encoded(quadrants(40, 30), image_format))
    for at in rng.integers(0, len(data), flips):
        data[at] = rng.integers(0, 256)
    try:
        assert decode(bytes(data), STEPS).crop.shape == (3, 224, 224)
    except BadImage as bad:
        assert bad.reason in VERDICTS


@pytest.mark.skipif(not SHARED_PHOTOS.is_dir(), reason="../shared/photos is absent")
def test_scaling_in_the_jpeg_stays_near_decoding_whole():
    for path in sorted(SHARED_PHOTOS.glob("*.JPEG"))[::80]:
        data = path.read_bytes()
        scaled = decode(data, STEPS).scaled
        whole = Image.open(io.BytesIO(data)).convert("RGB")
        whole = whole.resize(scaled.shape[1::-1], Image.Resampling.BILINEAR)
        assert np.abs(scaled.astype(float) - np.asarray(whole)).mean() < 4


def transparent(mode: str) -> Image.Image:
    """Random colours, 40 x 600 pixels, more than two bands high; transparency is in a band, or in the file's header."""
    pixels = np.random.default_rng(0).integers(0, 256, (600, 40, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode in ("RGBA", "LA", "PA"):
        return image.convert(mode)
    image = image.convert("RGB").convert(mode)
    image.info["transparency"] = {"P": bytes(range(64)), "L": 7, "RGB": image.getpixel((0, 0))}[mode]
    return image


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "L", "RGB"])
def test_transparency_on_white_band_by_band_is_what_it_is_as_a_whole(mode: str) -> None:
    image = transparent(mode)
    assert image.has_transparency_data
    seen = image.convert("RGBA")
    whole = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    np.testing.assert_array_equal(np.asarray(_to_rgb(image)), np.asarray(whole))
