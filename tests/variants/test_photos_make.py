import hashlib
import io
import random as shuffling

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_parents import SHARED_PHOTOS, SMALL, encoded, made, parent, photo, pixels, task, textured
from PIL import Image, ImageOps

from pipeline_assets.errors import UnfitParent
from pipeline_assets.ingestion.media.inspection import inspect
from pipeline_assets.variants.kinds import Made, Parent
from pipeline_assets.variants.photos import COLUMNS, KIND, Photos, maker
from pipeline_assets.variants.recipes import Recipe

PNG = Recipe("png")
GEOMETRY = ("crop", "flip", "rotate", "perspective", "crop_and_flip")


def reason(outcome):
    assert isinstance(outcome, UnfitParent), outcome
    return outcome.reason


def small(name, encoding=PNG):
    return SMALL.then(KIND.recipes[name], encoding)


def everything(parents):
    """Each ready-made recipe of each photo."""
    work = []
    for at, one in enumerate(parents):
        for name in KIND.recipes:
            recipe = SMALL.then(KIND.recipes[name])
            two = KIND.operations.parents(KIND.complete(recipe)) == 2
            work.append(task(recipe, *((one, parents[at - 1]) if two else (one,))))
    return work


def digests(outcomes):
    return {
        done.variant_id: hashlib.sha256(outcome.data).hexdigest() if isinstance(outcome, Made) else outcome.reason
        for done, outcome in outcomes
    }


PARENTS = [photo(0), photo(1, 80, 120), photo(2, 200, 150, "JPEG"), photo(3, 64, 64, "WEBP"), parent(b"no photo")]
WORK = everything(PARENTS)


@pytest.fixture(scope="module")
def alone():
    """Each variant made by itself."""
    return {key: value for item in WORK for key, value in digests(KIND.make([item])).items()}


@pytest.mark.slow
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([1, 5000, 20_000, 10**7]), st.floats(0.05, 1))
@settings(max_examples=12, deadline=None)
def test_bytes_depend_on_the_task_alone(alone, seed, threads, batch_px, share):
    work = WORK.copy()
    shuffling.Random(seed).shuffle(work)
    work = work[: max(1, int(len(work) * share))]
    found = digests(maker.make(iter(work), threads=threads, batch_px=batch_px))
    assert found == {item[0].variant_id: alone[item[0].variant_id] for item in work}


def test_each_task_has_one_outcome_and_a_broken_photo_harms_only_its_own(alone):
    broken = PARENTS[-1].sha256
    for item, _ in WORK:
        assert (alone[item.variant_id] == "not_an_image") is (broken in item.parents)


@pytest.mark.parametrize("name", KIND.recipes)
def test_rows_say_what_the_bytes_are(name):
    outcome = made(SMALL.then(KIND.recipes[name]), photo(4), *([photo(5)] if name in ("mixup", "cutmix") else []))
    seen = inspect(outcome.data, "variant.jpg")
    assert (seen.verdict, seen.media_type) == ("ok", outcome.media_type) == ("ok", "image/jpeg")
    assert set(outcome.columns) == set(COLUMNS.column_names())
    assert (outcome.columns["width_px"], outcome.columns["height_px"]) == (seen.width_px, seen.height_px) == (64, 64)
    assert bin(int(outcome.columns["phash"], 16) ^ int(seen.phash, 16)).count("1") <= 8
    assert outcome.encoding == "jpeg, quality 92, 4:2:0"
    assert KIND.problems(outcome) == []


@pytest.mark.parametrize(("encoding", "media_type"), [("png", "image/png"), ("webp", "image/webp")])
def test_lossless_means_lossless(encoding, media_type):
    fixed = SMALL.then(Recipe("colour", brightness=1.1, contrast=1.2, saturation=0.5, hue=5.0))
    outcome = made(fixed.then(Recipe(encoding)), photo(1))
    assert (outcome.media_type, outcome.encoding) == (media_type, f"{encoding}, lossless")
    jpeg = made(fixed.then(Recipe("jpeg", quality=95)), photo(1))
    assert 0 < np.abs(pixels(outcome).astype(int) - pixels(jpeg)).mean() < 3
    np.testing.assert_array_equal(pixels(outcome), pixels(made(fixed.then(PNG), photo(1))))


def test_the_same_pixels_as_the_fitted_parent_are_no_variant():
    still = Recipe("flip", chance=0.0)
    assert reason(made(SMALL.then(still), photo(1))) == "unchanged"
    assert reason(made(SMALL.then(Recipe("rotate", degrees=0.0)), photo(1))) == "unchanged"
    plain = parent(encoded(Image.new("RGB", (80, 80), "teal")))
    assert reason(made(SMALL.then(Recipe("crop")), plain)) == "unchanged"
    assert isinstance(made(SMALL.then(Recipe("exposure", stops=1.0)), plain), Made)


def test_other_seeds_give_other_bytes_and_the_same_seed_the_same():
    recipe = SMALL.then(Recipe("noise"))
    assert made(recipe, photo(1)).data == made(recipe, photo(1)).data != made(recipe, photo(1), run_seed=1).data


def in_orange(left, top, right, bottom, width=200, height=160):
    """Black, with a thing in it and its label."""
    image = Image.new("RGB", (width, height))
    image.paste((255, 128, 0), (left, top, right, bottom))
    box = {"x": left, "y": top, "width": right - left, "height": bottom - top, "label": "orange"}
    return parent(encoded(image), boxes=[box], title="an orange")


def extent(image):
    """left, top, right, bottom of what is orange, half shades counted as such."""
    seen = image[..., 0] > 127
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@given(
    st.sampled_from(GEOMETRY),
    st.tuples(st.integers(0, 130), st.integers(0, 100), st.integers(24, 70), st.integers(24, 60)),
    st.integers(0, 10**6),
    st.sampled_from(["square", "aspect"]),
)
@settings(max_examples=60, deadline=None)
def test_a_box_is_where_its_thing_is(name, place, run_seed, shape):
    left, top, width, height = place
    one = in_orange(left, top, left + width, top + height)
    outcome = made(Recipe("fit", side_px=128, shape=shape).then(KIND.recipes[name], PNG), one, run_seed=run_seed)
    if isinstance(outcome, UnfitParent):
        assert outcome.reason == "unchanged"
        return
    assert outcome.labels["title"] == "an orange" and KIND.problems(outcome) == []
    for box in outcome.labels["boxes"]:
        assert box["label"] == "orange"
        expected = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
        # A sharp corner of a turned thing covers less than half of its last pixels.
        assert np.abs(np.subtract(extent(pixels(outcome)), expected)).max() <= 3
    if not outcome.labels["boxes"]:
        assert (pixels(outcome)[..., 0] > 127).sum() <= 128 * 165 / 4


def test_a_thing_that_is_covered_has_no_box():
    one = in_orange(70, 50, 130, 110)
    recipe = SMALL.then(Recipe("cutout", area=0.9), PNG)
    assert made(recipe, one).labels["boxes"] == []


def test_a_photo_without_boxes_gets_none():
    assert made(small("flip"), photo(1, title="x")).labels == {"title": "x"}


def test_what_is_mixed_in_is_said_with_its_share():
    one, other = (
        in_orange(60, 40, 100, 80),
        photo(3, 160, 160, boxes=[{"x": 40, "y": 40, "width": 80, "height": 80}], kind="b"),
    )
    outcome = made(SMALL.then(Recipe("mixup", share=0.25), PNG), one, other)
    assert outcome.labels["mixed"] == {"share": 0.25, "labels": {"kind": "b"}}
    assert [box.get("label") for box in outcome.labels["boxes"]] == ["orange", None]
    assert outcome.labels["boxes"][1] == {"x": 16, "y": 16, "width": 32, "height": 32}
    plain = parent(encoded(Image.new("RGB", (64, 64), (200, 200, 200))))
    black = parent(encoded(Image.new("RGB", (64, 64))))
    assert (pixels(made(SMALL.then(Recipe("mixup", share=0.25), PNG), black, plain)) == 50).all()
    cut = made(SMALL.then(Recipe("cutmix", area=0.25), PNG), black, plain)
    assert cut.labels["mixed"]["share"] == pytest.approx((pixels(cut)[..., 0] == 200).mean(), abs=1e-6)
    assert cut.labels["mixed"]["share"] == pytest.approx(0.25, abs=0.02)


def test_a_second_photo_that_is_broken_is_the_reason():
    assert reason(made(SMALL.then(Recipe("mixup")), photo(1), parent(b"GIF89a"))) in ("truncated", "not_an_image")


def test_a_photo_can_be_mixed_with_itself_only_to_stay_what_it_is():
    assert reason(made(SMALL.then(Recipe("cutmix")), photo(1), photo(1))) == "unchanged"


def truncated(data, part):
    return data[: int(len(data) * part)]


GOOD = encoded(textured(9, 300, 200), "JPEG")
BAD = {
    "empty": b"",
    "text": b"hello",
    "pdf": b"%PDF-1.7\n" + b"0" * 100,
    "half a jpeg": truncated(GOOD, 0.5),
    "nearly a jpeg": truncated(GOOD, 0.97),
    "a jpeg's header": GOOD[:200],
    "half a png": truncated(encoded(textured(9), "PNG"), 0.5),
    "half a webp": truncated(encoded(textured(9), "WEBP"), 0.5),
    "tiny": encoded(Image.new("RGB", (8, 300))),
    "animated": encoded(textured(1), "GIF", save_all=True, append_images=[textured(2)]),
    "floats": encoded(Image.new("F", (64, 64)), "TIFF"),
    "a bomb": b"BM" + (54 + 10**9).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    + (40).to_bytes(4, "little") + (60_000).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_bytes_are_told_and_their_neighbours_are_made(what):
    recipe = SMALL.then(Recipe("flip"))
    work = [task(recipe, photo(1)), task(recipe, parent(BAD[what])), task(recipe, photo(2))]
    outcomes = {done.parents[0]: outcome for done, outcome in KIND.make(work)}
    assert isinstance(outcomes.pop(parent(BAD[what]).sha256), UnfitParent)
    assert len(outcomes) == 2 and all(isinstance(outcome, Made) for outcome in outcomes.values())


@pytest.mark.parametrize("labels", [{"boxes": [{"x": 1}]}, {"boxes": "all of it"}, {"boxes": 5}, {"boxes": [None]}])
def test_bad_labels_are_told(labels):
    bad = Parent(photo(1).sha256, photo(1).data, labels)
    assert reason(made(SMALL.then(Recipe("flip")), bad)) == "bad_labels"


def test_a_file_is_read_and_one_that_is_gone_is_told(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(photo(1).data)
    recipe = SMALL.then(Recipe("flip"))
    assert made(recipe, Parent(photo(1).sha256, path)).data == made(recipe, photo(1)).data
    assert reason(made(recipe, Parent("0" * 64, tmp_path / "none.png"))) == "gone"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_upright_and_its_boxes_count_from_there(orientation):
    image = Image.new("RGB", (160, 120))
    image.paste((255, 128, 0), (20, 20, 60, 50))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.open(io.BytesIO(encoded(image, "JPEG", exif=exif, quality=95)))
    shown = np.asarray(ImageOps.exif_transpose(upright))
    left, top, right, bottom = (int(v) for v in extent(shown))
    box = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    one = parent(encoded(image, "JPEG", exif=exif, quality=95), boxes=[box])
    outcome = made(Recipe("fit", side_px=120, shape="aspect").then(Recipe("flip"), PNG), one)
    (box,) = outcome.labels["boxes"]
    expected = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
    assert np.abs(np.subtract(extent(pixels(outcome)), expected)).max() <= 1


def test_a_large_photo_is_decoded_smaller_and_its_boxes_still_fit():
    one = in_orange(1200, 800, 2400, 1500, 3200, 2400)
    jpeg = encoded(Image.open(io.BytesIO(one.data)), "JPEG")
    outcome = made(Recipe("crop", area=0.6, aspect=1.0).then(PNG), parent(jpeg, **one.labels))
    (box,) = outcome.labels["boxes"]
    expected = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
    assert np.abs(np.subtract(extent(pixels(outcome)), expected)).max() <= 1.5


def test_an_error_of_the_input_is_raised_after_what_came_before():
    def work():
        yield task(SMALL.then(Recipe("flip")), photo(1))
        raise ConnectionError("the store is gone")

    outcomes = KIND.make(work())
    assert isinstance(next(outcomes)[1], Made)
    with pytest.raises(ConnectionError):
        next(outcomes)


def test_an_abandoned_stream_stops_reading():
    drawn = []

    def work():
        for number in range(10_000):
            drawn.append(number)
            yield task(SMALL.then(Recipe("noise")), photo(number % 3), number=number)

    outcomes = Photos(threads=2).make(work())
    next(outcomes)
    outcomes.close()
    assert len(drawn) < 5000


def test_the_contact_sheet_shows_each_parent_with_its_variants():
    parents = [in_orange(60, 40, 100, 80), photo(2, 60, 160)]
    shown = [
        (one, [(item, outcome) for item, outcome in KIND.make(task(small(n), one) for n in ("flip", "blur"))])
        for one in parents
    ]
    sheet = Image.open(io.BytesIO(KIND.contact_sheet(shown)))
    assert sheet.format == "PNG" and sheet.size[0] > 3 * 160 and sheet.size[1] > 2 * 160
    assert Image.open(io.BytesIO(KIND.contact_sheet([]))).size[0] > 0


def test_a_box_outside_is_a_problem():
    outcome = made(small("flip"), photo(1))
    assert KIND.problems(
        Made(b"", "image/png", "", {"boxes": [{"x": 60, "y": 0, "width": 9, "height": 9}]}, outcome.columns)
    )


@pytest.mark.skipif(not SHARED_PHOTOS.is_dir(), reason="../shared/photos is absent")
def test_real_photos_have_all_variants():
    paths = sorted(SHARED_PHOTOS.glob("*.JPEG"))[::100]
    parents = [parent(path.read_bytes()) for path in paths]
    outcomes = [outcome for _, outcome in KIND.make(everything(parents))]
    assert len(outcomes) == len(paths) * len(KIND.recipes)
    assert all(isinstance(outcome, Made) for outcome in outcomes)
