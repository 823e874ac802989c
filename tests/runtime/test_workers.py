import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.runtime.workers import Work, Workers


def results(items, size, *, threads=2, rows=3, prepare=str, finish=lambda prepared: [f"<{p}>" for p in prepared]):
    with ThreadPoolExecutor(threads) as pool:
        yield from Workers(Work(prepare, finish, rows), pool, threads).results(items, size)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5))
def test_every_result_comes_once_in_order_whatever_the_sizes(count, size, threads, rows):
    chunks = list(results(range(count), size, threads=threads, rows=rows))
    assert [result for chunk in chunks for result in chunk] == [f"<{n}>" for n in range(count)]
    assert all(len(chunk) == size for chunk in chunks[:-1])


def test_what_a_thread_holds_is_finished_also_if_the_others_take_all_that_follows():
    """The reader waits for item 0, on a thread that gets no other: the rest is not fed before that is read."""
    slow = threading.Event()

    def prepare(item):
        if item == 0:
            slow.wait(0.5)  # meanwhile the other thread takes everything that there is room for
        return str(item)

    chunks = list(results(range(60), 1, threads=2, rows=4, prepare=prepare))
    assert [result for chunk in chunks for result in chunk] == [f"<{n}>" for n in range(60)]


def test_items_are_finished_together_on_the_thread_that_prepared_them():
    seen = []

    def prepare(item):
        return item, threading.get_ident()

    def finish(prepared):
        seen.append(len(prepared))
        return [item for item, thread in prepared if thread == threading.get_ident()]

    chunks = list(results(range(20), 20, rows=4, prepare=prepare, finish=finish))
    assert chunks == [list(range(20))]
    assert max(seen) == 4


def test_an_error_in_preparing_is_raised_in_place_of_its_results():
    def prepare(item):
        return 1 // (item - 5)

    with pytest.raises(ZeroDivisionError):
        list(results(range(9), 2, prepare=prepare))


def test_an_error_in_finishing_is_raised():
    def finish(prepared):
        raise OSError("the card fell off the bus")

    with pytest.raises(OSError, match="fell off"):
        list(results(range(9), 2, finish=finish))


def test_an_error_of_the_items_comes_after_the_results_before_it():
    def items():
        yield from range(5)
        raise ConnectionResetError("the store went away")

    seen = []
    with pytest.raises(ConnectionResetError, match="went away"):
        for chunk in results(items(), 2):
            seen += chunk
    assert seen == [f"<{n}>" for n in range(5)]
