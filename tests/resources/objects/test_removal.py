"""Removal of contents on the real S3 server, with versions and without; a clean-up that is really killed."""

import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from resources.errors import StoreUnavailable
from resources.objects import removal_marks, s3
from resources.objects.removal import delete_removal_lists, holdings, remove_contents
from resources.objects.store import ObjectStore, content_key

LATER = timedelta(days=2)
CONTENT = b"a content that was reached once"


@pytest.fixture(params=["versioned", "unversioned", "suspended"])
def bucket_store(request: pytest.FixtureRequest, s3_client: Any, s3_options: dict[str, str]) -> ObjectStore:
    name = f"b-{secrets.token_hex(8)}"
    s3.ensure_bucket(s3_client, name, versioning=request.param != "unversioned")
    if request.param == "suspended":
        s3_client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    return ObjectStore.open(f"s3://{name}/lake", **s3_options)


def test_what_is_removed_is_gone_with_all_its_versions(bucket_store: ObjectStore) -> None:
    kept = bucket_store.put_if_absent(b"kept")
    key = content_key(bucket_store.put_if_absent(CONTENT).sha256)
    bucket_store.put(key, CONTENT)
    doomed = [item for item in holdings(bucket_store, "sha256/") if item.key == key]
    assert len(remove_contents(bucket_store, doomed, datetime.now(UTC) + LATER)) == len(doomed)
    assert [item.key for item in holdings(bucket_store, "")] == [content_key(kept.sha256)]


def test_what_has_become_younger_since_it_was_listed_stays(
    bucket_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer asks for it between the listing and the removal: it is renewed by a copy onto itself."""
    key = content_key(bucket_store.put_if_absent(CONTENT).sha256)
    doomed = list(holdings(bucket_store, "sha256/"))
    monkeypatch.setattr(removal_marks, "RENEW_AFTER", timedelta(seconds=-60))
    threading.Event().wait(2.1)  # last-modified has whole seconds
    between = datetime.now(UTC) - timedelta(seconds=1)
    bucket_store.put_if_absent(CONTENT)
    remove_contents(bucket_store, doomed, between)
    assert bucket_store.get(key) == CONTENT


def test_without_versions_a_writer_waits_for_a_clean_up_that_has_condemned_its_content(
    s3_client: Any, s3_options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"b-{secrets.token_hex(8)}"
    s3.ensure_bucket(s3_client, name, versioning=False)
    store = ObjectStore.open(f"s3://{name}", **s3_options)
    key = content_key(store.put_if_absent(CONTENT).sha256)
    store.put(f"{removal_marks.PREFIX}one", removal_marks.encode(["sha256/00/other", key]))
    writer = threading.Thread(target=store.put_if_absent, args=(CONTENT,))
    writer.start()
    writer.join(timeout=0.5)
    assert writer.is_alive()
    store.delete(key)
    delete_removal_lists(store)
    writer.join(timeout=30)
    assert store.get(key) == CONTENT
    store.put(f"{removal_marks.PREFIX}two", removal_marks.encode([key]))
    monkeypatch.setattr(removal_marks, "PATIENCE_S", 0.0)
    with pytest.raises(StoreUnavailable, match="darkroom gc"):
        store.put_if_absent(CONTENT)
    store.put_if_absent(b"another content")


KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from resources.objects import removal
from resources.objects.store import ObjectStore

store, calls = ObjectStore.open(sys.argv[1]), [int(sys.argv[2])]
for name in ("put", "delete", "list"):
    def counted(*arguments, call=getattr(store, name), **options):
        calls[0] -= 1
        if calls[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    setattr(store, name, counted)
older_than = datetime.now(UTC) + timedelta(days=2)
doomed = [item for item in removal.holdings(store, "sha256/") if not item.key.endswith(sys.argv[3])]
removal.remove_contents(store, doomed, older_than)
"""


@pytest.mark.parametrize("calls", [2, 3, 4, 5])
def test_a_removal_that_is_killed_leaves_what_the_next_completes(
    object_store: Callable[[str], ObjectStore], tmp_path: Path, calls: int
) -> None:
    store = object_store("folder")
    kept = content_key(store.put_if_absent(b"kept").sha256)
    for n in range(3):
        store.put_if_absent(f"nothing names {n}".encode())
    ran = subprocess.run([sys.executable, "-c", KILLED, store.url, str(calls), kept[-60:]], capture_output=True, text=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert store.get(kept) == b"kept"
    delete_removal_lists(store)
    for item in list(holdings(store, "sha256/")):
        if item.key != kept:
            remove_contents(store, [item], datetime.now(UTC) + LATER)
    assert [info.key for info in store.list("")] == [kept]
