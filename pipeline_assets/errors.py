"""The errors that Darkroom raises on purpose. Each message says what to do.

A single bad input raises none of them: it becomes a row with a quarantine reason (`ingestion/schemas.py`).
"""


class DarkroomError(Exception):
    """Base class of all errors below."""


class BadUpload(DarkroomError):
    """Uploaded bytes that can't be used.

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


class InspectionUnavailable(DarkroomError):
    """The process that inspects uploads can't be started: no upload is to blame."""


class ModelUnusable(DarkroomError):
    """A classifier's files are missing, malformed, or refused by the safe loader."""


class SettingsDiffer(DarkroomError):
    """A setting in the assets' declarations has another value than when they were loaded."""


class SchemaMismatch(DarkroomError):
    """A frame breaks its table's schema; the message names columns and rules."""


class NothingToTrainOn(DarkroomError):
    """A training window has no mature rows, or a split of it is empty."""


class StagingCorrupt(DarkroomError):
    """A staged shard's bytes differ from its recorded sha256."""


class ReferenceUnreadable(DarkroomError):
    """The JSON of a data set is missing, malformed, or from a newer version of Darkroom."""


class ManifestBroken(DarkroomError):
    """A data set's list of files can't be trusted: its hash differs, or it has invalid rows or unsafe paths."""


class PinRefused(DarkroomError):
    """The state to pin could not be restored later: uncommitted code, stale days, or days being written."""


class NotARepository(DarkroomError):
    """A command that needs a git repository was called outside of one."""


class NotComparable(DarkroomError):
    """Two data sets that can't be compared: different assets, a folder and a table, or no common key."""


class NotReproducible(DarkroomError):
    """A data set that can't be rebuilt: its code is not available, or its rows came from outside the lake."""


class CheckoutRefused(DarkroomError):
    """The target folder contains files that a checkout must not change: foreign files, links, or another data set."""


class CheckoutIncomplete(DarkroomError):
    """Some files of a data set could not be read. The others are in place, and the next checkout continues from there."""


class BadSelection(DarkroomError):
    """A condition or a list of columns that does not fit the data."""


class ExportRefused(DarkroomError):
    """A data set can't be exported: the format does not support it, bytes are missing, or foreign files are in the way."""


class UnknownPerson(DarkroomError):
    """Nothing is held of a person."""


class ImportRefused(DarkroomError):
    """Another tool's data can't be imported: broken files, unsafe paths, missing contents, or no data."""


class CleanUpRefused(DarkroomError):
    """The objects in use can't be determined for certain, so nothing may be deleted."""


class BadRecipe(DarkroomError):
    """A recipe that does not fit its kind of data: an unknown operation, a parameter out of bounds, another version."""


class UnfitParent(DarkroomError):
    """An item from which no variant can be made: it can't be decoded, or is too short or too small for the recipe.

    Other items are not affected. reason: a short machine name; detail: a sentence for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BadCampaign(DarkroomError):
    """A campaign's file that can't be used: no YAML, an unknown field, or fields that contradict each other."""


class QuestionChanged(DarkroomError):
    """A campaign asks another question under a version that was asked already."""


class NothingToAsk(DarkroomError):
    """A campaign has no tasks, or none with an accepted answer, because no run has computed any."""


class BadLabelingFunctions(DarkroomError):
    """A module of labeling functions that can't be used: it can't be imported, has none, or has two of one name."""


class NothingToServe(DarkroomError):
    """Online features were asked for, and nothing is computed from which they come."""


class MissingExtra(DarkroomError):
    """A method that was asked for needs a package that is not installed."""


class LabelToolAway(DarkroomError):
    """A labeling tool does not answer: it is not running, not reachable, or too slow."""


class LabelToolRefused(DarkroomError):
    """A labeling tool refuses our token, or the account may not do this."""


class LabelToolFailed(DarkroomError):
    """A labeling tool answers with an error, such as a full disk or a missing project. The message has its own words.

    is_passing: whether the same request may succeed later. status: of HTTP, if the tool or a proxy has refused a request.
    """

    def __init__(self, message: str, *, is_passing: bool = False, status: int | None = None) -> None:
        super().__init__(message)
        self.is_passing = is_passing
        self.status = status


class StateUnreadable(DarkroomError):
    """A value of the online store has another format, or is cut short: the states must be built again."""


class StateTooOld(DarkroomError):
    """A moment after the horizon of the online states: the next ones have not been built."""


class MomentBeforeState(DarkroomError):
    """A moment before the online states: only the offline features answer it."""


class StateIncomplete(DarkroomError):
    """A user's state lacks a photo that became known too late: the next build has it."""


class JournalDamaged(DarkroomError):
    """The stream's journal lacks a part that was acknowledged, or holds other bytes than were written."""

    @classmethod
    def at(cls, path: object, offset: int) -> "JournalDamaged":
        """A block that can't be read, by its file and place."""
        return cls(
            f"{path} is damaged at byte {offset}: its disk may be failing. Restore the file from a backup; or move its "
            "folder away, which gives up the events that had not reached the lake, and start again: the rest is read "
            "from the lake."
        )


class ClockSetBack(DarkroomError):
    """This machine's clock is far behind the newest event: arrivals can't be stamped."""


class AskRefused(DarkroomError):
    """An ask of the endpoint that can't be answered: bad bytes, an unknown user, a moment that no state covers.

    status: of HTTP; reason: a short machine name; detail: a sentence for a person; retry_after_s: when to ask again.
    """

    def __init__(self, status: int, reason: str, detail: str, retry_after_s: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.status, self.reason, self.detail, self.retry_after_s = status, reason, detail, retry_after_s


class ServingUnsafe(DarkroomError):
    """A photo scored alone differs from the batch pipeline on this machine: the endpoint does not answer."""


class NoModelToServe(DarkroomError):
    """There is no popularity model of that name, or none at all, or its classifier is not the chosen one."""
