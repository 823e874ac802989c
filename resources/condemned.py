"""The agreement between those who keep contents and the clean-up that removes them, and why it holds.

The race: a writer asks for a content that nothing reaches any more; it is there, so it is not sent again; the clean-up
removes it; the writer commits a reference to nothing. Locks would need one place that every writer, also of a plain
folder, can reach. Instead:

Writer (`ObjectIO.put_if_absent`), for each content, new or not:
  1. put it unless it is there, having asked first or, if it is small, in one conditional request; *renew* it (it is then as
     young as a new one) if it is older than RENEW_AFTER;
  2. where the store told a version id, done. Else read the list of condemned keys, and then ask once more whether the
     content is there; while it is condemned, or not there, begin again;
  3. later, commit a reference: at most `grace - RENEW_AFTER` after step 1.

Clean-up (`removal`), having noted the time S and read all references after it, for each batch:
  1. of what has a version id, remove exactly that version, if it is older than S - grace. For the rest:
  2. write their keys to a condemned list; 3. list them again, and remove those that are *still* older than S - grace;
  4. take the condemned list away.

Why nothing that is reached is lost. Take a content c that a writer relies on since its step 1, at time t.
- If c was found young or made young before the clean-up looked at its age (its step 3, or the listing for versions), then
  c's age was below RENEW_AFTER at t. Removed means older than S - grace, so t < S - grace + RENEW_AFTER: the reference was
  committed before S, was read, and c is not removed.
- Else the clean-up looked first and may remove c. With version ids it removes the version that it saw, which is not the
  one that the writer found young or made: that one stays. Without, its condemned list was written before that look. If the
  list is still there at the writer's step 2, the writer begins again. If it is gone, the removal is over, and the
  question after it says whether c is there: a removal that comes later has yet to look at c's age.
It rests on stores that read what was written (folders, S3 since 2020, SeaweedFS) and on no speed of either side. A clean-up
that is killed leaves its list; writers of just those contents are told so, and the next clean-up, which runs alone, takes
it away. `tests/resources/test_removal_interleavings.py` walks through the interleavings of real calls.
"""

from collections.abc import Iterable
from datetime import timedelta

PREFIX = "condemned/"
"""In the store of the contents: objects with one key a line."""
RENEW_AFTER = timedelta(hours=12)
"""A content that is older is written anew when it is kept again."""
PATIENCE_S = 60.0
"""So long a writer waits for a clean-up to be done with its content: a batch takes seconds."""
PAUSE_S = 0.1


def encode(keys: Iterable[str]) -> bytes:
    """A condemned list."""
    return "".join(f"{key}\n" for key in keys).encode()


def names(data: bytes, key: str) -> bool:
    """Whether a condemned list names a key."""
    return f"\n{key}\n".encode() in b"\n" + data
