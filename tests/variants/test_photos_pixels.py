import imagehash
import kornia
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_parents import textured
from PIL import Image

from pipeline_assets.variants.photos import effects, pixels
from pipeline_assets.variants.photos.catalogue import PHOTOS
from pipeline_assets.variants.photos.codec import encoded, perceptual_hash
from pipeline_assets.variants.photos.effects import Canvas, Encoding

CANVAS = Canvas(96, 80)


def batch(*seeds):
    stacked = np.stack([np.asarray(textured(seed, CANVAS.width, CANVAS.height)) for seed in seeds])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2)


def applied(images, *steps, others=None):
    return pixels.apply(images, [list(steps)] * len(images), others)


def table(tones):
    return effects.Curve(np.tile(np.asarray(tones, dtype=np.float32), (3, 1)))


@pytest.mark.parametrize(
    "effect",
    [
        effects.Warp(np.eye(3)),
        effects.Colour(np.eye(3, 4)),
        table(np.arange(256) / 255),
        effects.Noise(1e-9, 1),
        effects.Vignette(0.0),
        effects.Detail(0.0),
        effects.Blur(0.05),
        effects.Cut((5, 5, 5, 9), 0.5),
        effects.Blend(0.0),
        effects.Paste((3, 3, 3, 3)),
    ],
    ids=lambda effect: type(effect).__name__,
)
def test_an_effect_of_no_strength_changes_nothing(effect):
    images = batch(1, 2)
    before = images.clone()
    torch.testing.assert_close(applied(images, effect, others=batch(3, 4)), before, rtol=0, atol=0)
    torch.testing.assert_close(images, before, rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name, op in sorted(PHOTOS.items()) if name not in ("fit", "jpeg", "png", "webp")])
def test_pictures_of_four_bytes_a_pixel_are_encoded_and_hashed_as_those_of_three(name):
    made = PHOTOS[name].function(CANVAS, np.random.default_rng(1))
    steps = [list(made) if isinstance(made, list) else [made]] * 2
    lines = pixels.apply(batch(1, 2), steps, batch(3, 4)).permute(0, 2, 3, 1).contiguous().numpy()
    for three, found in zip(lines, pixels.apply_to_pictures(batch(1, 2), steps, batch(3, 4)).numpy(), strict=True):
        assert np.array_equal(found[..., :3], three) and not found[..., 3:].any()
        assert perceptual_hash(found) == perceptual_hash(three)
        for encoding in (Encoding("jpeg", 92), Encoding("png"), Encoding("webp")):
            assert encoded(found, encoding) == encoded(three, encoding)


@given(st.sampled_from(["rotate", "perspective", "crop"]), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_a_warp_is_kornias(name, seed):
    matrix = PHOTOS[name].function(CANVAS, np.random.default_rng(seed)).matrix
    images = batch(1)
    # kornia counts from pixels' centres.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    centres = torch.from_numpy(np.linalg.inv(half) @ matrix @ half)[None]
    theirs = kornia.geometry.warp_perspective(images.double(), centres, (80, 96), padding_mode="border", align_corners=True)
    ours = pixels.warp(images, [effects.Warp(matrix)])
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    torch.testing.assert_close(ours.double()[inner], theirs[inner], rtol=0, atol=0.05)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.7])
def test_a_blur_is_kornias(sigma):
    size = 2 * round(3 * sigma) + 1
    theirs = kornia.filters.gaussian_blur2d(batch(1, 2).float(), (size, size), (sigma, sigma))
    torch.testing.assert_close(pixels.blur(batch(1, 2), [effects.Blur(sigma)] * 2), theirs, rtol=0, atol=0.01)


def test_a_blur_wider_than_the_photo_is_possible():
    assert pixels.blur(batch(1)[:, :, :4, :5], [effects.Blur(30.0)]).std((2, 3)).max() < 3


def test_a_turn_by_a_quarter_moves_pixels_exactly():
    images = batch(1)[:, :, :80, :80]
    quarter = PHOTOS["rotate"].function(Canvas(80, 80), np.random.default_rng(0), degrees=90.0)
    torch.testing.assert_close(applied(images, quarter), images.rot90(-1, (2, 3)), rtol=0, atol=0)


def test_colours_are_mixed_as_the_matrix_says_and_cut_off():
    images = torch.tensor([[[[100]], [[200]], [[50]]]], dtype=torch.uint8)
    matrix = np.array([[0, 1, 0, 0], [2, 0, 0, 0.5], [0, 0, 1, -0.5]])
    assert applied(images, effects.Colour(matrix)).flatten().tolist() == [200, 255, 0]


@given(st.integers(0, 2**32), st.floats(0.01, 30), st.booleans())
@settings(max_examples=30, deadline=None)
def test_mixing_colours_leaves_no_sum_to_the_processor_to_round(seed, strength, are_floats):
    matrix = np.random.default_rng(seed).normal(0, strength, (3, 4))
    images = batch(seed % 1000)
    if are_floats:
        images = (images + torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))).clamp(max=255)
    once = pixels.colour(images.clone(), [effects.Colour(matrix)])
    # The same sums in another order.
    order = [2, 0, 1]
    again = pixels.colour(images[:, order].clone(), [effects.Colour(matrix[:, [*order, 3]])])
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    whole = images.round().double().flatten(2)[0].numpy()
    exact = (matrix[:, :3] @ whole + 255 * matrix[:, 3:]).clip(0, 255).reshape(once.shape)
    np.testing.assert_allclose(once.numpy(), exact, rtol=0, atol=0.016 * max(1.0, np.abs(matrix).sum(axis=1).max()))


def test_neighbouring_colours_and_warps_become_one():
    colour, warp = effects.Colour(np.eye(3, 4) * 2), effects.Warp(np.diag([2.0, 2.0, 1.0]))
    found = effects.fused([colour, colour, warp, warp, effects.Blur(1.0), warp])
    assert [type(effect).__name__ for effect in found] == ["Colour", "Warp", "Blur", "Warp"]
    np.testing.assert_array_equal(found[0].matrix, np.eye(3, 4) * 4)
    np.testing.assert_array_equal(found[1].matrix, np.diag([4.0, 4.0, 1.0]))


def test_each_channel_has_its_own_curve():
    curve = effects.Curve(np.stack([np.linspace(1, 0, 256), np.full(256, 0.2), np.arange(256) / 255]).astype(np.float32))
    images = torch.tensor([[[[10, 255]], [[10, 255]], [[10, 255]]]], dtype=torch.uint8)
    assert applied(images, curve).flatten().tolist() == [245, 0, 51, 51, 10, 255]


def test_noise_has_its_strength_and_no_colour_if_grey():
    grey = torch.full((1, 3, 200, 200), 128, dtype=torch.uint8)
    coloured = pixels.noise(grey, [effects.Noise(0.05, 7)]) - 128
    assert coloured.mean().abs() < 0.1 and coloured.std().item() == pytest.approx(0.05 * 255, rel=0.02)
    assert np.corrcoef(coloured[0].flatten(1))[0, 1] == pytest.approx(0, abs=0.02)
    monochrome = pixels.noise(grey, [effects.Noise(0.05, 7, is_grey=True)])
    assert (monochrome[:, 0] == monochrome[:, 2]).all()
    other = pixels.noise(grey, [effects.Noise(0.05, 8)]) - 128
    assert np.corrcoef(coloured.flatten(), other.flatten())[0, 1] == pytest.approx(0, abs=0.02)


def test_corners_are_darkened_and_the_centre_is_not():
    light = applied(torch.full((1, 3, 101, 101), 200, dtype=torch.uint8), effects.Vignette(0.5))[0, 0].int()
    assert light[50, 50] == 200 and light[0, 0] == pytest.approx(101, abs=2) and light[50, 0] == pytest.approx(150, abs=2)


def test_detail_moves_away_from_the_surroundings():
    images = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    images[:, :, 26:38, 26:38] = 150
    done = applied(images, effects.Detail(1.0))
    assert done[0, 0, 32, 32] > 180 and done[0, 0, 0, 0] == 100 and done[0, 0, 20, 32] < 100


@pytest.mark.parametrize(("size", "target"), [(8, 64), (28, 224), (28, 229), (5, 5), (1, 7)])
def test_what_is_enlarged_lies_on_lines_between_pixels_centres(size, target):
    images = torch.rand((2, 3, size, 9), generator=torch.Generator().manual_seed(5))
    expected = torch.nn.functional.interpolate(images, (target, 9), mode="bilinear", align_corners=False)
    torch.testing.assert_close(pixels._enlarged(images, 2, target), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(pixels._enlarged(images.mT, 3, target), expected.mT, rtol=0, atol=1e-5)


def test_cuts_blends_and_pastes_show_what_they_should():
    images, others = torch.full((1, 3, 10, 10), 100, dtype=torch.uint8), torch.full((1, 3, 10, 10), 200, dtype=torch.uint8)
    cut = applied(images, effects.Cut((2, 3, 6, 10), 0.2))
    assert (cut[..., 3:10, 2:6] == 51).all() and (cut == 51).sum() == 3 * 28
    assert (applied(images, effects.Blend(0.3), others=others) == 130).all()
    pasted = applied(images, effects.Paste((0, 0, 5, 2)), others=others)
    assert (pasted[..., :2, :5] == 200).all() and (pasted == 200).sum() == 30
    with pytest.raises(ValueError, match="second photo"):
        applied(images, effects.Blend(0.3))


def test_a_jpeg_of_low_quality_is_coarser():
    images = batch(1)
    errors = [(applied(images, effects.Recompress(q)).float() - images.float()).abs().mean() for q in (5, 30, 90)]
    assert errors[0] > errors[1] > errors[2] > 0


def test_saturation_of_nothing_is_grey_and_a_full_turn_of_hue_is_none():
    same = {"brightness": 1.0, "contrast": 1.0}
    random = np.random.default_rng(0)
    grey = applied(batch(1), PHOTOS["colour"].function(CANVAS, random, saturation=0.0, hue=0.0, **same))
    assert (grey[:, 0] == grey[:, 1]).all() and (grey[:, 1] == grey[:, 2]).all()
    full = PHOTOS["colour"].function(CANVAS, random, saturation=1.0, hue=180.0, **same)
    np.testing.assert_allclose(effects.fused([full, full])[0].matrix, np.eye(3, 4), atol=1e-9)


def test_a_stop_of_exposure_doubles_linear_light():
    tones = PHOTOS["exposure"].function(CANVAS, np.random.default_rng(0), stops=1.0).table[0]
    linear = kornia.color.rgb_to_linear_rgb(torch.tensor([100 / 255, float(tones[100])]).view(2, 1, 1, 1).repeat(1, 3, 1, 1))
    assert (linear[1, 0] / linear[0, 0]).item() == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize("image", [textured(seed, 224, 224) for seed in range(6)] + [Image.new("RGB", (64, 64), "teal")])
def test_the_hash_is_imagehashs_give_or_take_two_bits(image):
    differing = int(perceptual_hash(np.array(image)), 16) ^ int(str(imagehash.phash(image)), 16)
    assert differing.bit_count() <= 2


@pytest.mark.parametrize("size", [(32, 32), (224, 300), (640, 480), (1500, 1000)])
@pytest.mark.parametrize("colour", ["black", "white", "teal", "#01fe7b"])
def test_the_hash_of_a_flat_picture_is_imagehashs(size, colour):
    image = Image.new("RGB", size, colour)
    assert perceptual_hash(np.array(image)) == str(imagehash.phash(image))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", [name for name in PHOTOS if name not in ("fit", "jpeg", "png", "webp")])
def test_a_gpu_gives_the_same_to_one_level(name):
    made = PHOTOS[name].function(CANVAS, np.random.default_rng(3))
    steps = [made] if not isinstance(made, list) else made
    here = applied(batch(1, 2), *steps, others=batch(3, 4))
    there = applied(batch(1, 2).cuda(), *steps, others=batch(3, 4).cuda()).cpu()
    assert (here.int() - there.int()).abs().max() <= (8 if name == "recompress" else 1)
