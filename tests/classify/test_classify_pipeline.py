import gc
import hashlib
import threading
import time
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from polars.testing import assert_frame_equal
from tiny_network import SHARED_PHOTOS, encoded, named, noise

from pipeline_assets.classify.decode import decode
from pipeline_assets.classify.model_files import IMAGENET_CLASSES, Preprocessing
from pipeline_assets.classify.pipeline import Failure, classify_photos
from pipeline_assets.classify.runners import (
    CpuRunner,
    DeviceRunner,
    choose_device,
    choose_dtype,
    joined,
    single_threaded_pool,
)
from pipeline_assets.classify.schemas import MeasuredStyles, PhotoClasses
from pipeline_assets.classify.styles import CLASSIFIER as STYLES
from pipeline_assets.classify.styles import STYLES_ID, measure_styles


def colour(red: int, green: int, blue: int) -> tuple[str, bytes]:
    return named(encoded(Image.new("RGB", (48, 36), (red, green, blue))))


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("classify")}


def test_classes_of_flat_colours_are_as_worked_by_hand(tiny):
    photos = [colour(255, 0, 0), colour(0, 0, 255)]
    (batch,) = classify_photos(photos, classifier=tiny, device="cpu")
    # Logits (2, 0, 0): the softmax is e^2 / (e^2 + 2) and twice 1 / (e^2 + 2).
    high, low = 0.7869861, 0.1065069
    assert batch.classes["sha256"].to_list() == [photos[0][0], photos[1][0]]
    assert batch.classes["model_id"].unique().to_list() == [tiny.model_id]
    assert [row[0] for row in batch.classes["top5_label"].to_list()] == ["red", "blue"]
    assert batch.classes["top5_index"].to_list()[0][0] == 0
    np.testing.assert_allclose(batch.classes["top5_probability"].to_list(), [[high, low, low]] * 2, atol=1e-5)
    np.testing.assert_allclose(batch.classes["embedding"].to_list(), [[1, 0, 0], [0, 0, 1]], atol=1e-6)
    assert batch.further == {} and batch.failures == ()


def test_rows_keep_the_declared_schemas(tiny):
    (batch,) = classify_photos([named(noise(seed)) for seed in range(5)], classifier=tiny, further=[STYLES], device="cpu")
    day = pl.lit("2026-01-31").str.to_date().alias("day")
    PhotoClasses.validate(batch.classes.select(day, pl.all()))
    MeasuredStyles.validate(batch.further[STYLES_ID].select(day, pl.all()))


def test_styles_alone_need_no_classifier():
    photos = [named(noise(seed)) for seed in range(3)]
    (batch,) = classify_photos(photos, classifier=None, further=[STYLES])
    expected = [
        {"sha256": sha256, "styles_id": STYLES_ID, **vars(measure_styles(decode(data, Preprocessing()).scaled, 64 / 48))}
        for sha256, data in photos
    ]
    assert_frame_equal(batch.further[STYLES_ID], pl.DataFrame(expected, schema=batch.further[STYLES_ID].schema))
    assert batch.classes.is_empty() and batch.classes.columns[0] == "sha256"


def test_no_photos_give_no_batches(tiny):
    assert list(classify_photos([], classifier=tiny, further=[STYLES], device="cpu")) == []


@pytest.mark.parametrize("count", [1, 7, 8, 9, 24, 25])
@pytest.mark.parametrize("batch_size", [1, 8, 11])
def test_each_photo_is_in_exactly_one_row_in_input_order(tiny, count, batch_size):
    photos = [named(noise(seed)) for seed in range(count)]
    batches = list(classify_photos(photos, classifier=tiny, further=[STYLES], device="cpu", batch_size=batch_size))
    assert pl.concat([b.classes for b in batches])["sha256"].to_list() == [sha256 for sha256, _ in photos]
    assert pl.concat([b.further[STYLES_ID] for b in batches])["sha256"].to_list() == [sha256 for sha256, _ in photos]
    assert all(b.classes.height <= batch_size for b in batches)


def test_bad_photos_are_failures_with_a_reason_and_cost_the_others_nothing(tiny):
    photos = [named(noise(1)), ("a" * 64, b""), named(noise(2)), ("b" * 64, b"not a photo"), named(noise(3))]
    (batch,) = classify_photos(photos, classifier=tiny, further=[STYLES], device="cpu")
    assert batch.classes["sha256"].to_list() == [photos[0][0], photos[2][0], photos[4][0]]
    assert [(f.sha256, f.reason) for f in batch.failures] == [("a" * 64, "empty"), ("b" * 64, "not_an_image")]
    alone = pl.concat([b.classes for p in (0, 2, 4) for b in classify_photos([photos[p]], classifier=tiny)])
    assert_frame_equal(batch.classes, alone)


def test_a_batch_of_bad_photos_alone_is_failures_alone(tiny):
    (batch,) = classify_photos([("a" * 64, b"")], classifier=tiny, further=[STYLES], device="cpu")
    assert batch.failures == (Failure("a" * 64, "empty", "zero bytes"),)
    assert batch.classes.is_empty() and batch.further[STYLES_ID].is_empty()


def test_results_do_not_depend_on_batch_composition(built_in):
    photos = [named(noise(seed, 260, 240)) for seed in range(11)]
    together = list(classify_photos(photos, classifier=built_in, batch_size=11, device="cpu"))
    reversed_ = list(classify_photos(photos[::-1], classifier=built_in, batch_size=4, device="cpu"))
    first = pl.concat([b.classes for b in together]).sort("sha256")
    second = pl.concat([b.classes for b in reversed_]).sort("sha256")
    assert_frame_equal(first, second, abs_tol=1e-4)


def test_an_error_of_the_network_is_raised_and_leaves_no_thread(tiny):
    def forward(x):
        raise RuntimeError("out of memory")

    broken = replace(tiny, module=forward)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(classify_photos([named(noise(seed)) for seed in range(9)], classifier=broken, further=[STYLES], device="cpu"))
    assert threads() == set()


def test_an_error_of_the_input_comes_out_after_what_was_done_before(tiny):
    def photos():
        for seed in range(5):
            yield named(noise(seed))
        raise ConnectionResetError("the store went away")

    seen = []
    with pytest.raises(ConnectionResetError, match="went away"):
        for batch in classify_photos(photos(), classifier=tiny, further=[STYLES], device="cpu", batch_size=2):
            seen += batch.classes["sha256"].to_list()
    assert len(seen) == 5
    assert threads() == set()


def test_a_consumer_that_stops_leaves_no_thread_and_closes_the_source(tiny):
    closed = threading.Event()

    def photos():
        try:
            while True:
                yield named(noise(1))
        finally:
            closed.set()

    batches = classify_photos(photos(), classifier=tiny, further=[STYLES], device="cpu", batch_size=4)
    next(batches)
    assert threads()
    batches.close()
    assert threads() == set()
    assert closed.is_set()


def test_a_consumer_that_raises_leaves_no_thread(tiny):
    def consume():
        for _ in classify_photos(
            (named(noise(1)) for _ in range(10**9)), classifier=tiny, further=[STYLES], batch_size=4, device="cpu"
        ):
            raise RuntimeError("the table is locked")

    with pytest.raises(RuntimeError, match="locked"):
        consume()
    gc.collect()
    assert threads() == set()


def test_what_is_never_iterated_starts_nothing(tiny):
    batches = classify_photos([named(noise(1))], classifier=tiny, further=[STYLES], device="cpu")
    assert threads() == set()
    batches.close()


def test_a_slow_consumer_holds_the_source_back(tiny):
    drawn = 0

    def photos():
        nonlocal drawn
        data = named(noise(1))
        while True:
            drawn += 1
            yield data

    batches = classify_photos(photos(), classifier=tiny, device="cpu", batch_size=4, threads=2)
    next(batches)
    before = -1
    while before != drawn:  # until nothing moves any more
        before = drawn
        time.sleep(0.3)
    # One batch taken; 16 finished or in work, of which 4 are encoded; one in hand.
    assert drawn <= 4 + 16 + 1
    batches.close()


def test_torch_keeps_its_thread_setting(tiny):
    torch.set_num_threads(3)
    list(classify_photos([named(noise(1))], classifier=tiny, device="cpu"))
    found = [torch.get_num_threads()]
    probe = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    probe.start()
    probe.join()
    torch.set_num_threads(1)
    assert found == [3, 3]


def test_each_forward_pass_on_cpu_keeps_to_one_core(tiny):
    torch.set_num_threads(2)
    seen = []

    def forward(x):
        seen.append(torch.get_num_threads())
        return tiny.module(x)

    runner = CpuRunner(tiny, forward)
    crops = [decode(noise(seed), tiny.preprocessing).crop for seed in range(32)]
    with single_threaded_pool(2) as pool:
        list(pool.map(lambda crop: runner.score([crop]), crops))
    torch.set_num_threads(1)
    assert set(seen) == {1}


def test_both_runners_agree(tiny):
    crops = [decode(noise(seed), tiny.preprocessing).crop for seed in range(5)]
    device = DeviceRunner(tiny, tiny.module, torch.device("cpu"), rows=8)
    cpu = CpuRunner(tiny, tiny.module)
    first = joined([cpu.score(crops[: cpu.rows]), cpu.score(crops[cpu.rows :])])
    second = device.submit(crops)()
    # A slot that held five photos must not show them to the next.
    takes = [device.submit(crops[:count]) for count in (1, 2, 3)]
    later = [take() for take in takes][1]
    device.close()
    for name in ("index", "probability", "embedding"):
        np.testing.assert_allclose(getattr(second, name), getattr(first, name), atol=1e-6)
        np.testing.assert_allclose(getattr(later, name), getattr(first, name)[:2], atol=1e-6)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused_at_once(tiny, batch_size):
    with pytest.raises(ValueError, match="batch_size"):
        classify_photos([], classifier=tiny, further=[STYLES], batch_size=batch_size)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_device_that_is_absent_is_refused_at_once(tiny):
    with pytest.raises(ValueError, match="choose auto"):
        classify_photos([], classifier=tiny, further=[STYLES], device="cuda")


def test_auto_is_a_device_that_is_there():
    assert choose_device("auto").type in ("cuda", "mps", "cpu")
    assert choose_dtype(torch.device("cpu")) in (torch.float32, torch.bfloat16)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu_within_a_hundredth(built_in):
    photos = [named(noise(seed, 260, 240)) for seed in range(150)]
    frames = [
        pl.concat([b.classes for b in classify_photos(photos, classifier=built_in, device=device, batch_size=32)])
        for device in ("cpu", "cuda")
    ]
    for cpu, cuda in zip(*(frame.iter_rows(named=True) for frame in frames), strict=True):
        assert cpu["sha256"] == cuda["sha256"]
        scores = dict(zip(cuda["top5_index"], cuda["top5_probability"], strict=True))
        assert abs(scores.get(cpu["top5_index"][0], 0) - cpu["top5_probability"][0]) < 1e-2


@pytest.mark.skipif(not SHARED_PHOTOS.is_dir(), reason="../shared/photos is absent")
def test_a_hundred_real_photos_are_named_right(built_in):
    ids = [line.split(",")[1] for line in IMAGENET_CLASSES.read_text().splitlines() if line[0].isdigit()]
    truth, photos = {}, []
    for path in sorted(SHARED_PHOTOS.glob("*.JPEG"))[::8]:
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        truth[sha256] = ids.index(path.name.split("_")[0])
        photos.append((sha256, data))
    classes = pl.concat([b.classes for b in classify_photos(photos, classifier=built_in, device="cpu")])
    right = sum(truth[sha256] == top[0] for sha256, top in classes.select("sha256", "top5_index").iter_rows())
    assert len(photos) == 100
    assert right >= 87
