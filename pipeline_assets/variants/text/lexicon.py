"""English words as the project keeps them: synonyms of each, in its own form, and whether it is common. From WordNet 3.0.

The file beside this module, `synonyms.parquet`, is made by `make_synonyms.py`; its licence is in `WORDNET-LICENSE.txt`.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import polars as pl

SYNONYMS = Path(__file__).with_name("synonyms.parquet")


def word_set(words: str) -> frozenset[str]:
    """Words with spaces between, as a set."""
    return frozenset(words.split())


FUNCTION_WORDS = word_set(
    """
    a about above across after again against all along although am among an and another any are aren't around as at away
    be because been before behind being below beneath beside besides between beyond both but by can cannot can't could
    couldn't despite did didn't do does doesn't doing done don't down during each either else enough even ever every except
    few for from had hadn't has hasn't have haven't having he her here hers herself him himself his how however i if in
    inside instead into is isn't it its itself just least less lest like many may me might mine more most much must my
    myself near neither never no nobody none nor not nothing now of off often on once one oneself only onto or other others
    ought our ours ourselves out outside over own past per perhaps quite rather same shall she should shouldn't since so
    some somebody someone something than that the thee their theirs them themselves then there these they this those thou
    though through throughout thus till to together too toward towards under underneath unless until unto up upon us very
    via was wasn't we well were weren't what whatever when whenever where wherever whether which while who whoever whole
    whom whose why will with within without won't would wouldn't yes yet you your yours yourself yourselves
    zero two three four five six seven eight nine ten eleven twelve hundred thousand million billion first second third
    """
)
"""Words that carry a sentence's grammar, and numbers in words: no synonym is put in their place."""


@dataclass(frozen=True)
class Lexicon:
    """entries: words with synonyms. common: words that people use and that are no names."""

    entries: dict[str, tuple[str, str]]
    common: frozenset[str]
    _found: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    def synonyms(self, word: str, senses: int) -> tuple[str, ...]:
        """Words to put in a lower-case word's place, in its form; none for a word that is unknown or ambiguous.

        senses: the meaning that they share is among this many first ones of both words.
        """
        entry = self.entries.get(word)
        if entry is None:
            return ()
        if (word, senses) not in self._found:
            words, ranks = entry
            near = sum(int(rank) <= senses for rank in ranks)
            self._found[word, senses] = tuple(words.split()[:near])
        return self._found[word, senses]


@cache
def lexicon() -> Lexicon:
    """Read once a process, in about a tenth of a second."""
    table = pl.read_parquet(SYNONYMS)
    common = table.filter("is_common")["word"].to_list()
    have = table.filter(pl.col("synonyms") != "")
    entries = dict(zip(have["word"].to_list(), have.select("synonyms", "ranks").iter_rows(), strict=True))
    return Lexicon(entries, frozenset(common) | FUNCTION_WORDS)
