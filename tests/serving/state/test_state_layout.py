"""Packed values come back as they were, and no other bytes are read."""

from array import array

import pytest

from pipeline_assets.errors import StateUnreadable
from pipeline_assets.ingestion.schemas import EVENT_KINDS
from pipeline_assets.serving.state.layout import (
    KINDS,
    Delivery,
    EventBucket,
    Leaving,
    Maturing,
    PhotoState,
    UserState,
    bucket_key,
    event_digest,
)

LIKE = Delivery(KINDS.index("like"), -5, 7, 10, 20)
USER = UserState(
    2**60, [1, 0, -3, 4, 5, 2**31 - 1], 2**62, 3, array("q", [1, 2, 2]), [Leaving(5, -6)], [Maturing(7, 8, 9)], False
)
DIGESTS = sorted(event_digest(name) for name in "abc")
STATES = {
    "an empty user": UserState(),
    "a full user": USER,
    "a known photo": PhotoState(2**60, -1, 5),
    "an unknown photo": PhotoState(waiting=[LIKE, LIKE]),
    "an empty bucket": EventBucket(),
    "a full bucket": EventBucket(b"".join(DIGESTS[:2]), {DIGESTS[2]: LIKE}),
}


@pytest.mark.parametrize("name", STATES)
def test_a_packed_state_comes_back_as_it_was(name):
    state = STATES[name]
    assert type(state).unpack(state.pack()) == state


@pytest.mark.parametrize("name", STATES)
def test_no_byte_can_be_cut_off(name):
    state = STATES[name]
    value = state.pack()
    for size in range(len(value)):
        with pytest.raises(StateUnreadable):
            type(state).unpack(value[:size])


@pytest.mark.parametrize("state", [UserState, PhotoState, EventBucket])
def test_a_value_of_another_format_says_how_to_rebuild(state):
    with pytest.raises(StateUnreadable, match=r"has format 2, .* reads 1: build the states again"):
        state.unpack(b"\x02" + bytes(63))
    with pytest.raises(StateUnreadable, match="has format none"):
        state.unpack(b"")


def test_an_unknown_photo_for_which_nothing_waits_has_no_value():
    photo = PhotoState()
    photo.wait(LIKE)
    photo.wait(LIKE)
    photo.forget(LIKE)
    assert photo.waiting == [LIKE]
    photo.forget(LIKE)
    photo.forget(LIKE)
    assert photo.pack() is None


def test_settled_digests_are_found_only_where_one_begins():
    a, b, c = DIGESTS
    bucket = EventBucket(a + b)
    assert bucket.is_settled(a)
    assert bucket.is_settled(b)
    assert not bucket.is_settled(c)
    assert not bucket.is_settled(a[4:] + b[:4])
    assert EventBucket(b[8:] + a[:8] + b[:8] + b[8:]).is_settled(b)
    assert not EventBucket().is_settled(a)


def test_a_bucket_is_named_by_twenty_bits():
    assert bucket_key(bytes([1, 2, 0x3F] + [9] * 13)) == b"e:\x01\x02\x30"


def test_the_kinds_of_this_format_are_those_of_the_log_in_order():
    assert sorted(EVENT_KINDS) == list(KINDS)
