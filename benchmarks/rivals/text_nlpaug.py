"""Text variants as nlpaug makes them; run by `benchmarks.variants_text` in an environment of its own.

    python -m benchmarks.rivals.text_nlpaug TITLES

TITLES: a JSON list. Prints the best seconds of three rounds for each operation, as JSON. Its synonyms need a download of
NLTK's, so they are left out.
"""

import json
import sys
import time
from pathlib import Path

from nlpaug.augmenter.char import KeyboardAug
from nlpaug.augmenter.word import RandomWordAug

OPERATIONS = {
    "typos": KeyboardAug(aug_char_max=1, aug_word_p=0.2, include_special_char=False, include_numeric=False),
    "reorder": RandomWordAug(action="swap", aug_p=0.2),
    "delete": RandomWordAug(action="delete", aug_p=0.2),
}


def seconds(name: str, titles: list[str]) -> float:
    """Of one round, title by title."""
    began = time.perf_counter()
    for title in titles:
        OPERATIONS[name].augment(title)
    return time.perf_counter() - began


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps({name: min(seconds(name, request) for _ in range(3)) for name in OPERATIONS}))
