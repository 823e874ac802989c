"""Large pictures are decoded one at a time, small and streamed ones together."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from pipeline_assets.runtime.decode_turns import LARGE_PX, decoding


def picture(pixels: int, format: str = "PNG", **info: object) -> Image.Image:
    image = Image.new("1", (pixels // 16 + 1, 16))
    image.format = format
    image.info.update(info)
    return image


def are_together(first: Image.Image, second: Image.Image) -> bool:
    """Whether both are in their blocks at the same time."""
    meeting = threading.Barrier(2)

    def work(image: Image.Image) -> bool:
        with decoding(image):
            try:
                meeting.wait(timeout=1)
            except threading.BrokenBarrierError:
                return False
        return True

    with ThreadPoolExecutor(2) as pool:
        return all(pool.map(work, (first, second)))


@pytest.mark.slow
def test_two_large_pictures_take_turns() -> None:
    assert not are_together(picture(LARGE_PX), picture(LARGE_PX))
    assert not are_together(picture(LARGE_PX, "JPEG", progressive=1), picture(LARGE_PX))


@pytest.mark.parametrize("other", [picture(1_000), picture(LARGE_PX, "JPEG"), picture(LARGE_PX, "MPO")])
def test_small_and_streamed_pictures_wait_for_nobody(other: Image.Image) -> None:
    assert are_together(picture(LARGE_PX), other)
    assert are_together(other, other)


def test_a_picture_that_fails_gives_its_turn_back() -> None:
    with pytest.raises(OSError, match="damaged"), decoding(picture(LARGE_PX)):
        raise OSError("damaged")
    with decoding(picture(LARGE_PX)):
        pass
