"""Real ratings as votes: drawn, turned into signs, and read from an archive that may be anything."""

import io
import tarfile

import numpy as np
import pytest

from benchmarks import crowd_answers
from benchmarks.crowd_answers import BATCH, MOST_COLUMNS, NoCrowd, Ratings, accuracy, part, signs


def rated(items: int, columns: int) -> Ratings:
    item = np.repeat(np.arange(items), columns)
    column = np.tile(np.arange(columns), items)
    return Ratings(item, item // BATCH * MOST_COLUMNS + column, (item + column) % 9 - 4)


def test_a_part_has_so_many_annotators_of_each_batch_and_only_random_ones_change() -> None:
    whole = rated(90, 8)
    drawn, at_random = part(whole, 3, 0.5, seed=1)
    assert (np.bincount(drawn.item) == 3).all()
    honest = ~np.isin(drawn.annotator, at_random)
    truth = {(item, person): value for item, person, value in zip(whole.item, whole.annotator, whole.value, strict=True)}
    kept = [truth[item, person] for item, person in zip(drawn.item, drawn.annotator, strict=True)]
    np.testing.assert_array_equal(drawn.value[honest], np.array(kept)[honest])
    assert honest.any() and not honest.all()


def test_signs_leave_zeros_out_and_items_without_an_answer_count_half() -> None:
    votes, people = signs(Ratings(np.array([0, 0, 1]), np.array([7, 3, 3]), np.array([-2, 0, 4])), items=3)
    assert (votes.item.tolist(), votes.answer.tolist(), people[votes.annotator].tolist()) == ([0, 1], [0, 1], [7, 3])
    assert accuracy(np.array([0, 1, -1]), np.array([0, 0, 1])) == pytest.approx(0.5)
    assert accuracy(np.array([0, 1, -1]), np.array([0, -1, -1])) == 1.0


def archive(*members: tuple[str, bytes, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content, kind in members:
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind
            member.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive",
        archive(),
        archive(("other", b"x", tarfile.REGTYPE)),
        archive(("wanted", b"", tarfile.SYMTYPE)),
        archive(("wanted", b"x" * (crowd_answers.MOST_BYTES + 1), tarfile.REGTYPE)),
        archive(("wanted", b"x" * 4096, tarfile.REGTYPE))[:60],
    ],
    # An archive has the time at which it was made: without names each worker would collect another test.
    ids=["empty", "no archive", "no members", "another member", "a link", "too large", "cut off"],
)
def test_an_archive_without_the_file_is_refused(data: bytes) -> None:
    with pytest.raises(NoCrowd):
        crowd_answers._member(data, "wanted")
    assert crowd_answers._member(archive(("wanted", b"yes", tarfile.REGTYPE)), "wanted") == b"yes"
