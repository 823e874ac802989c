"""Keys of uploads: which are legal, why the others are not, and names for imported files."""

from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.ingestion.keys import (
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    BadKey,
    UploadKey,
    parse_upload_key,
    safe_name,
)
from resources.objects.store import ObjectStore

DAY = date(2026, 2, 28)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("uploads/2026-02-28/7/cat.jpg", UploadKey(DAY, 7, "cat.jpg")),
        ("uploads/2026-02-28/0/cat", UploadKey(DAY, 0, "cat")),
        ("uploads/2026-02-28/9223372036854775807/a.png", UploadKey(DAY, 2**63 - 1, "a.png")),
        ("uploads/2026-02-28/7/trip/day 1/Zoë (2).jpg", UploadKey(DAY, 7, "trip/day 1/Zoë (2).jpg")),
        ("uploads/2026-02-28/7/Zo%C3%AB.jpg", UploadKey(DAY, 7, "Zo%C3%AB.jpg")),
        ("uploads/2026-02-28/7/.hidden", UploadKey(DAY, 7, ".hidden")),
        ("uploads/2024-02-29/7/leap.jpg", UploadKey(date(2024, 2, 29), 7, "leap.jpg")),
    ],
)
def test_a_legal_key_gives_its_parts(key: str, expected: UploadKey) -> None:
    assert parse_upload_key(key) == expected


LEGAL_NAMES = [
    "a..b.jpg", "..jpg", "...", "a..", "..hidden/a", "100%.jpg", "%4", "%zz", "%ff.jpg", "%2e%2E/a", "%2Fa", "a%00b",
    " a b .jpg", "写真.jpg", "e\u0301.jpg", "\U0001f600.jpg", "\u202ea.jpg", "\u2028", "a\\b", "a:b?*<>|.jpg", "'\"&;$(x)`", "con",
]  # fmt: skip
"""What S3 takes as a name, each as it is: nothing decodes a key, and no path is made of it outside a folder store."""


@pytest.mark.parametrize("name", LEGAL_NAMES)
def test_a_name_that_s3_takes_is_legal_as_it_is(name: str) -> None:
    assert parse_upload_key(f"uploads/2026-02-28/7/{name}") == UploadKey(DAY, 7, name)


@pytest.mark.parametrize("backend", ["s3", "folder"])
def test_a_legal_name_is_put_listed_and_read_as_it_is(object_store: Callable[[str], ObjectStore], backend: str) -> None:
    store = object_store(backend)
    keys = {
        f"uploads/2026-02-28/{number}/{name}"
        for number, name in enumerate(LEGAL_NAMES)
        if backend == "folder" or "\\" not in name
    }
    for key in keys:
        store.put(key, key.encode())
    assert {info.key for info in store.list("uploads/")} == keys
    found = dict(store.get_many(sorted(keys), key=str))
    assert found == {key: key.encode() for key in keys}
    assert all(store.get(key, version_id=f"etag-{store.head(key).etag}") == key.encode() for key in keys)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "not uploads/"),
        ("uploads", "not uploads/"),
        ("uploads/2026-02-28/7", "not uploads/"),
        ("uploads/2026-02-28/7/", "not uploads/"),
        ("/uploads/2026-02-28/7/a", "not uploads/"),
        ("photos/2026-02-28/7/a", "not uploads/"),
        ("Uploads/2026-02-28/7/a", "not uploads/"),
        ("uploads/2026-02-30/7/a", "not a day"),
        ("uploads/2025-02-29/7/a", "not a day"),
        ("uploads/2026-13-01/7/a", "not a day"),
        ("uploads/0000-01-01/7/a", "not a day"),
        ("uploads/20260228/7/a", "not a day"),
        ("uploads/2026-2-28/7/a", "not a day"),
        ("uploads/٢٠٢٦-02-28/7/a", "not a day"),
        ("uploads/2026-02-28/x/a", "not a user id"),
        ("uploads/2026-02-28/-1/a", "not a user id"),
        ("uploads/2026-02-28/1.0/a", "not a user id"),
        ("uploads/2026-02-28/007/a", "not a user id"),
        ("uploads/2026-02-28/٧/a", "not a user id"),
        ("uploads/2026-02-28/9223372036854775808/a", "not a user id"),
        (f"uploads/2026-02-28/{'9' * 900}/a", "not a user id"),
        ("uploads/2026-02-28/7/../8/a", "'..'"),
        ("uploads/2026-02-28/7/..", "'..'"),
        ("uploads/../7/a", "'..'"),
        ("uploads/2026-02-28/7//a", "'//'"),
        ("uploads//7/a", "'//'"),
        ("uploads/2026-02-28/7/./a", "'.' segment"),
        ("uploads/2026-02-28/7/.", "'.' segment"),
        ("uploads/2026-02-28/7/a\nb", "control"),
        ("uploads/2026-02-28/7/a\0b", "control"),
        ("uploads/2026-02-28/7/a\x7fb", "control"),
        ("uploads/2026-02-28/7/a\x85b", "control"),
        ("uploads/2026-02-28/7/\udcff.jpg", "not valid UTF-8"),
        ("uploads/2026-02-28/7/" + "a" * 1_100, "1121 bytes"),
        ("uploads/2026-02-28/7/" + "é" * 600, "1221 bytes"),
    ],
)
def test_a_bad_key_is_refused_with_what_is_wrong(key: str, said: str) -> None:
    result = parse_upload_key(key)

    assert isinstance(result, BadKey)
    assert said in result.detail


def test_a_key_of_exactly_the_longest_length_is_legal() -> None:
    prefix = "uploads/2026-02-28/7/"
    assert isinstance(parse_upload_key(prefix + "a" * (MAX_KEY_BYTES - len(prefix))), UploadKey)
    assert isinstance(parse_upload_key(prefix + "a" * (MAX_KEY_BYTES - len(prefix) + 1)), BadKey)


@settings(deadline=None)
@given(st.text(st.characters(), max_size=80) | st.text("uploads/2026-13.%\0é7", max_size=60))
def test_any_text_is_either_a_key_that_reads_back_or_is_refused(key: str) -> None:
    result = parse_upload_key(key)

    if isinstance(result, UploadKey):
        assert f"uploads/{result.day}/{result.user_id}/{result.name}" == key
    else:
        assert result.detail


@pytest.mark.parametrize("name", ["cat.jpg", "IMG_0042 (1).JPEG", "Zoë und Öl.png", "a", "写真.jpg", ".hidden", "a~b.jpg"])
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("path", "start", "end"),
    [
        ("trip/day 1/cat.jpg", "trip_day 1_cat~", ".jpg"),
        ("a..b.jpg", "a_b~", ".jpg"),
        ("../../etc/passwd", "____etc_passwd~", ""),
        ("100%.png", "100_~", ".png"),
        ("new\nline.gif", "new_line~", ".gif"),
        ("", "_~", ""),
        ("..", "_~", ""),
        ("a" * 300 + ".jpeg", "aaaa", ".jpeg"),
        ("é" * 300 + ".jpeg", "éééé", ".jpeg"),
        ("\udcff.jpg", "_~", ".jpg"),
    ],
)
def test_another_name_is_cleaned_and_keeps_its_extension(path: str, start: str, end: str) -> None:
    name = safe_name(path)

    assert name.startswith(start)
    assert name.endswith(end)
    assert isinstance(parse_upload_key(f"uploads/2026-02-28/7/{name}"), UploadKey)


def test_a_name_that_looks_cleaned_is_told_from_one_that_was() -> None:
    cleaned = safe_name("trip/cat.jpg")

    assert safe_name(cleaned) != cleaned


@settings(deadline=None)
@given(st.lists(st.text(st.characters(), max_size=250) | st.text("ab/.~ %", max_size=6), unique=True, max_size=30))
def test_every_name_is_legal_bounded_and_of_one_input_only(paths: list[str]) -> None:
    names = [safe_name(path) for path in paths]

    assert len(set(names)) == len(paths)
    for name in names:
        assert len(name.encode()) <= MAX_NAME_BYTES
        assert parse_upload_key(f"uploads/2026-02-28/7/{name}") == UploadKey(DAY, 7, name)
