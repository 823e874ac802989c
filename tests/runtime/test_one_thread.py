"""Products on one thread."""

import ctypes
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pipeline_assets.runtime import one_thread as module
from pipeline_assets.runtime.one_thread import one_thread


def openblas_threads() -> int:
    """As OpenBLAS in numpy's wheel says itself."""
    folder = Path(np.__file__).parents[1] / "numpy.libs"
    libraries = list(folder.glob("*openblas*"))
    if not libraries:
        pytest.skip("this numpy is built on another library than OpenBLAS, or is no wheel of Linux")
    return int(ctypes.CDLL(str(libraries[0])).scipy_openblas_get_num_threads64_())


def test_there_is_one_thread_within_and_as_many_as_before_after_an_error_too() -> None:
    import torch

    before, of_torch = openblas_threads(), torch.get_num_threads()
    torch.set_num_threads(of_torch + 1)
    try:
        with pytest.raises(ZeroDivisionError), one_thread():
            assert openblas_threads() == torch.get_num_threads() == 1
            with one_thread():
                pass
            assert openblas_threads() == 1
            raise ZeroDivisionError
        assert openblas_threads() == before
        assert torch.get_num_threads() == of_torch + 1
    finally:
        torch.set_num_threads(of_torch)


def test_blocks_of_two_python_threads_leave_as_many_as_before() -> None:
    if not (pools := module._openblas()):
        pytest.skip("this numpy is built on another library than OpenBLAS")
    before = [count() for count, _ in pools]
    entered, left = threading.Event(), threading.Event()

    def other() -> None:
        with one_thread():
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=other)
    try:
        for _, use in pools:
            use(2)
        with one_thread():
            thread.start()
            entered.wait(0.2)  # in vain: it would take the one thread for what was there before
        left.set()
        thread.join()
        assert [count() for count, _ in pools] == [2] * len(pools)
    finally:
        for (_, use), threads in zip(pools, before, strict=True):
            use(threads)


def test_both_wheels_of_openblas_are_found_where_they_are() -> None:
    packages = Path(np.__file__).parents[1]
    wheels = [package for package in ("numpy", "scipy") if list((packages / f"{package}.libs").glob("*openblas*"))]
    if sys.platform == "linux":
        assert len(module._openblas()) == len(wheels)
