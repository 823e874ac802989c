"""The English lexicon: the synonyms of a word, in the same form, and whether it is common. From WordNet 3.0.

`make_synonyms.py` writes `synonyms.parquet` in this folder; its licence is in `WORDNET-LICENSE.txt`.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import polars as pl

SYNONYMS = Path(__file__).with_name("synonyms.parquet")


def word_set(words: str) -> frozenset[str]:
    """Words separated by spaces, as a set."""
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

NEVER = word_set(
    """
    bastard bitch bonk colored coloured cretin cripple darkie dumb dummy fanny floozy goddam goddamn goddamned gyp
    gypsy harlot heathen hooker hump hussy idiot idiotic imbecile insane jackass jerk lame loony lunatic maniac midget
    moron moronic mulatto mute negress negro negroid niggard niggardly nigrify nutty oriental penis pervert pimp piss
    pissed polack porno pornography psycho pygmy redneck retard retarded savage screw sex sexy shit shitty skank slag
    slave slut sodomite sodomy spastic spook squaw strumpet suck sucker tart tit tits titty tramp vagina wank wench
    whore whoredom whorehouse whoring
    """
)
"""Never put into a title, beside all that WordNet marks as a slur, disparagement or obscenity."""


@dataclass(frozen=True)
class Lexicon:
    """entries: words with synonyms. common: words in common use that are not names. irregular: see `takes_an`."""

    entries: dict[str, tuple[str, str]]
    common: frozenset[str]
    irregular: frozenset[str]
    _cache: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    def synonyms(self, word: str, senses: int) -> tuple[str, ...]:
        """Replacements for a lower-case word, in its form; none for a word that is unknown or ambiguous.

        senses: the shared meaning is among this many first ones of both words.
        """
        entry = self.entries.get(word)
        if entry is None:
            return ()
        if (word, senses) not in self._cache:
            words, ranks = entry
            near = sum(int(rank) <= senses for rank in ranks)
            self._cache[word, senses] = tuple(words.split()[:near])
        return self._cache[word, senses]

    def takes_an(self, word: str) -> bool:
        """Whether a lower-case word takes "an" instead of "a": by its first letter, with a list of exceptions."""
        return (word[0] in VOWELS) != (word in self.irregular)


VOWELS = "aeiou"


@cache
def lexicon() -> Lexicon:
    """The lexicon, read once per process in about 0.1 s."""
    table = pl.read_parquet(SYNONYMS)
    common = table.filter("is_common")["word"].to_list()
    have = table.filter(pl.col("synonyms") != "")
    entries = dict(zip(have["word"].to_list(), have.select("synonyms", "ranks").iter_rows(), strict=True))
    irregular = table.filter(pl.col("takes_an") != pl.col("word").str.contains(f"^[{VOWELS}]"))["word"].to_list()
    return Lexicon(entries, frozenset(common) | FUNCTION_WORDS, frozenset(irregular))
