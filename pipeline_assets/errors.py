"""Every error that Darkroom raises on purpose. Each message says what to do next.

What a single bad input deserves is not here: it is a quarantine reason in a row (`ingestion/schemas.py`).
"""


class DarkroomError(Exception):
    """Base of all errors below: catch this to catch what Darkroom raises on purpose."""


class BadUpload(DarkroomError):
    """Bytes that can't be used. Carries a quarantine reason.

    reason: one of `ingestion.schemas.VERDICTS`; detail: a sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BadImage(BadUpload):
    """Bytes that can't be decoded as a photo."""


class BadClip(BadUpload):
    """Bytes that can't be decoded as sound or video."""


class ModelUnusable(DarkroomError):
    """A classifier's files are missing, malformed, or refused by the safe loader."""


class SchemaMismatch(DarkroomError):
    """A frame does not keep its table's declared schema; the message names columns and rules."""


class NothingToTrainOn(DarkroomError):
    """A training window has no mature rows, or a split of it is empty."""


class StagingCorrupt(DarkroomError):
    """A staged shard's bytes differ from its recorded sha256."""


class ReferenceUnreadable(DarkroomError):
    """A data set's JSON is missing, is none, was edited by hand into none, or is of a newer Darkroom."""


class ManifestBroken(DarkroomError):
    """A data set's list of files can't be trusted: other bytes than named, impossible rows, or unsafe paths."""


class PinRefused(DarkroomError):
    """What was to be pinned is not in a state that could be got back: uncommitted code, stale or half-written days."""


class NotARepository(DarkroomError):
    """A command that keeps its references in git was called outside a repository."""


class NotComparable(DarkroomError):
    """Two data sets that can't be held against each other: other assets, a folder and a table, or no common key."""


class NotReproducible(DarkroomError):
    """A data set that can't be rebuilt: its code is not to be had, or its rows came from outside."""


class CheckoutRefused(DarkroomError):
    """A folder holds what a checkout must not touch: others' files in its way, links, another data set."""


class CheckoutIncomplete(DarkroomError):
    """Some files of a data set could not be got. What could be is in place, and the next checkout goes on from there."""


class BadSelection(DarkroomError):
    """A condition or a list of columns that does not fit the data."""


class ExportRefused(DarkroomError):
    """A data set can't be written as asked: the format can't hold it, bytes are missing, or others' files are in the way."""


class ImportRefused(DarkroomError):
    """Another tool's data can't be brought in: broken files, unsafe paths, missing contents, or nothing at all."""


class CleanUpRefused(DarkroomError):
    """What is reached can't be told for certain, so nothing may be deleted."""


class BadRecipe(DarkroomError):
    """A recipe that does not fit its kind of data: an unknown operation, a parameter out of its bounds, another version."""


class UnfitParent(DarkroomError):
    """One item that a variant can't be made from: it can't be decoded, or it is too short or small for the recipe.

    Carries a quarantine reason; its neighbours go on. reason: a short machine name; detail: a sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
