"""The columns of every table of variants; each kind adds its own."""

import dataframely as dy

from pipeline_assets.training.schemas import SPLITS, VOLATILE, TrainingTable
from pipeline_assets.variants import photos, receipts, speech, tables, text, video

HASH = "^[0-9a-f]{64}$"
PLACE = VOLATILE
"""Metadata of columns with the place of bytes: it depends on what was made together, so it is not digested."""


class Variants(dy.Schema):
    """One variant: its parents and recipe, the place of its bytes, and its labels."""

    day = dy.Date(primary_key=True, description="of its parent")
    variant_id = dy.String(
        primary_key=True, regex=HASH, description="sha256 of parents, recipe and seed: same id, same bytes"
    )
    parent_sha256 = dy.String(regex=HASH, description="content that it was made of")
    other_parent_sha256 = dy.String(nullable=True, regex=HASH, description="the second one, where two were mixed")
    source = dy.String(description="where the parent came from: key of an upload, a table's row")
    kind = dy.String()
    recipe = dy.String(description="name of the recipe")
    recipe_json = dy.String(description="every step with its parameters and version, canonical JSON")
    number = dy.Int32(min=0, description="which of the parent's variants")
    seed = dy.Int64(min=0, description="of the recipe's randomness")
    content_sha256 = dy.String(regex=HASH, description="its bytes")
    size_bytes = dy.Int64(min=0)
    object_sha256 = dy.String(
        regex=HASH, metadata=PLACE, description="the object in the store `objects` that has its bytes, and may have others'"
    )
    object_offset = dy.Int64(min=0, metadata=PLACE, description="where in that object they begin")
    media_type = dy.String()
    encoding = dy.String(description="lossless, or at which quality")
    split = dy.String(check=lambda c: c.is_in(list(SPLITS)), description="its parent's")
    labels_json = dy.String(description="the parent's labels, as they are true of the variant")
    is_synthetic = dy.Bool(description="always true: real data are in other tables")


class PhotoVariants(Variants, photos.COLUMNS):
    """One variant of a photo."""


class TextVariants(Variants, text.COLUMNS):
    """One variant of a text."""


class TableVariants(Variants, tables.COLUMNS):
    """One variant of a table."""


class SpeechVariants(Variants, speech.COLUMNS):
    """One variant of a recording."""


class VideoVariants(Variants, video.COLUMNS):
    """One variant of a clip."""


class ReceiptRenders(Variants, receipts.COLUMNS):
    """One receipt that never was."""


class TrainingVariants(TrainingTable):
    """One variant of a photo as a row to train on; `photo_id` is negative, and `parent_sha256` says which photo it is of."""

    variant_id = dy.String(regex=HASH)
    parent_sha256 = dy.String(regex=HASH)
