"""Datumaro reads labels in one format and writes them again.

python -m benchmarks.rivals.formats_datumaro FORMAT SOURCE TARGET
"""

import sys

from benchmarks.rivals.reported import reported


def main() -> None:
    """Read, write, report."""
    from datumaro import Dataset

    kind, source, target = sys.argv[1:4]
    reported(lambda: Dataset.import_from(source, kind).export(target, kind, save_media=False))


if __name__ == "__main__":
    main()
