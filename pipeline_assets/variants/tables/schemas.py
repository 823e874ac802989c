"""The columns specific to table variants."""

import dataframely as dy


class TableColumns(dy.Schema):
    """A variant of a table is in the object store; these columns describe its changes."""

    rows = dy.Int64(min=0)
    cells_deleted = dy.Int64(min=0, description="cells that were there and are null now")
    mask_sha256 = dy.String(
        nullable=True,
        regex="^[0-9a-f]{64}$",
        description="Parquet of the same rows and columns without keys, true where a cell was deleted; null if none was",
    )
    report_json = dy.String(description="what each step drew and, of synthetic rows, how they compare with the real ones")
