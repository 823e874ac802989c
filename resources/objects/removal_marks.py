"""The protocol between writers of contents and the clean-up that removes unreferenced ones, with its proof.

The race: a writer needs a content that nothing references any more; it exists, so it is not sent again; the clean-up removes
it; the writer commits a reference to a missing content. A lock would need one place that all writers can reach, also those
of a plain folder. Instead:

Writer (`ObjectIO.put_if_absent`), for each content, new or not:
  1. Put it unless it exists, after a request for it or, if it is small, in one conditional request. If it is older than
     RENEW_AFTER, *renew* it: it is then as young as a new one.
  2. If the store returned a version id: done. Otherwise read the removal lists, and then check again whether the content
     exists. While it is on a list, or missing, start over.
  3. Later, commit a reference: at most `grace - RENEW_AFTER` after step 1.

Clean-up (`removal`), which notes the time S and then reads all references, for each batch:
  1. Remove items with a version id, exactly that version, if it is older than S - grace. For the others:
  2. write their keys to a removal list; 3. list them again, and remove those that are *still* older than S - grace;
  4. delete the removal list.

Why no referenced content is lost. Take a content c that a writer relies on since its step 1, at time t.
- If c was young or renewed before the clean-up read its age (its step 3, or the listing of versions), then c's age was below
  RENEW_AFTER at t. Removed contents are older than S - grace, so t < S - grace + RENEW_AFTER: the reference was committed
  before S and was read, so c is not removed.
- Otherwise the clean-up read the age first and may remove c. With version ids it removes the version that it listed, not the
  one that the writer found young or wrote: that one stays. Without them, it wrote its removal list before it read the age.
  If the list still exists at the writer's step 2, the writer starts over. If it is gone, the removal has finished, and the
  writer's check after it says whether c exists: a later removal has yet to read c's age.
This requires stores with read-after-write consistency (folders, S3 since 2020, SeaweedFS), and no speed of either side. A
killed clean-up leaves its list; writers of exactly those contents get an error that says so, and the next clean-up, which
runs alone, deletes it. `tests/resources/objects/test_removal_interleavings.py` tries the interleavings of real calls.
"""

from collections.abc import Iterable
from datetime import timedelta

PREFIX = "condemned/"
"""Prefix of the removal lists in the store of the contents: objects with one key per line."""
RENEW_AFTER = timedelta(hours=12)
"""An older content is written again when it is put."""
PATIENCE_S = 60.0
"""Seconds that a writer waits for a clean-up to finish with its content: a batch takes seconds."""
PAUSE_S = 0.1


def encode(keys: Iterable[str]) -> bytes:
    """The bytes of a removal list."""
    return "".join(f"{key}\n" for key in keys).encode()


def names(data: bytes, key: str) -> bool:
    """Whether a removal list contains a key."""
    return f"\n{key}\n".encode() in b"\n" + data
