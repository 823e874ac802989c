"""Embeddings of titles without labels: TF-IDF with SVD, and a small transformer trained to tell masked words.

scipy and torch are imported in functions.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from pipeline_assets.exploration.learning.few_labels import Floats, Ints, unit
from pipeline_assets.runtime.one_thread import one_thread

if TYPE_CHECKING:
    import torch

WORD = re.compile(r"\w+(?:'\w+)?|[!?]")
PADDING, UNKNOWN, MASK = 0, 1, 2
WORDS, MIN_COUNT, MAX_LENGTH = 3_000, 2, 24
DIMENSIONS, MASKED_SHARE = 64, 0.15
EPOCHS, BATCH, RATE = 3, 64, 3e-3


@dataclass(frozen=True)
class Vocabulary:
    """Words by their numbers, which begin after those of padding, unknown words and masks."""

    numbers: dict[str, int]

    @classmethod
    def of(cls, texts: Sequence[str], size: int = WORDS) -> "Vocabulary":
        """The `size` words in most texts, of those in two at least; of equally frequent ones the first by alphabet."""
        counts = Counter(word for text in texts for word in set(words(text)))
        kept = sorted((word for word in counts if counts[word] >= MIN_COUNT), key=lambda word: (-counts[word], word))
        return cls({word: number for number, word in enumerate(kept[:size], MASK + 1)})

    def __len__(self) -> int:
        return MASK + 1 + len(self.numbers)

    def encode(self, texts: Sequence[str]) -> Ints:
        """(N, MAX_LENGTH) word numbers, PADDING at the end; later words are left out."""
        rows = np.full((len(texts), MAX_LENGTH), PADDING, np.int64)
        for row, text in zip(rows, texts, strict=True):
            found = [self.numbers.get(word, UNKNOWN) for word in words(text)[:MAX_LENGTH]]
            row[: len(found)] = found
        return rows


def words(text: str) -> list[str]:
    """Words in lower case, and the signs ! and ?."""
    return WORD.findall(text.lower())


@dataclass(frozen=True, eq=False)
class TfidfSvd:
    """TF-IDF, reduced by a truncated SVD. inverse: (V,) inverse document frequencies; directions: (V, P)."""

    vocabulary: Vocabulary
    inverse: npt.NDArray[np.float64]
    directions: npt.NDArray[np.float64]

    def embed(self, texts: Sequence[str]) -> Floats:
        """(N, P) of length 1; zeros for a text without a known word."""
        return unit((_tfidf(self.vocabulary, texts, self.inverse) @ self.directions).astype(np.float32))


def fit_tfidf_svd(texts: Sequence[str], seed: int, dimensions: int = DIMENSIONS) -> TfidfSvd:
    """Of at least dimensions + 2 texts and words. Raises ValueError for fewer."""
    from scipy.sparse.linalg import svds

    vocabulary = Vocabulary.of(texts)
    if min(len(texts), len(vocabulary) - 1) <= dimensions:
        raise ValueError(f"{len(texts)} texts with {len(vocabulary)} words are too few for {dimensions} dimensions")
    counts = np.asarray((_tfidf(vocabulary, texts, np.ones(len(vocabulary))) > 0).sum(axis=0)).ravel()
    inverse = np.log((1 + len(texts)) / (1 + counts)) + 1
    start = np.random.default_rng(seed).standard_normal(min(len(texts), len(vocabulary)))
    _, _, directions = svds(_tfidf(vocabulary, texts, inverse), k=dimensions, v0=start)
    return TfidfSvd(vocabulary, inverse, directions.T)


def _tfidf(vocabulary: Vocabulary, texts: Sequence[str], inverse: npt.NDArray[np.float64]) -> Any:
    """(N, V) sparse, rows of length 1; words after MAX_LENGTH count, and unknown ones do not."""
    from scipy.sparse import csr_array, diags_array

    pairs = Counter(
        (row, number)
        for row, text in enumerate(texts)
        for number in map(vocabulary.numbers.get, words(text))
        if number is not None
    )
    at = np.array(list(pairs), np.int64).reshape(-1, 2)
    values = (1 + np.log(np.array(list(pairs.values()), np.float64))) * inverse[at[:, 1]]
    table = csr_array((values, (at[:, 0], at[:, 1])), shape=(len(texts), len(vocabulary)))
    norms = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    return diags_array(1 / np.where(norms > 0, norms, 1)) @ table


@dataclass(frozen=True, eq=False)
class MaskedWords:
    """A trained transformer. losses: mean cross-entropy of masked words in each epoch."""

    vocabulary: Vocabulary
    network: "torch.nn.ModuleDict"
    losses: tuple[float, ...]

    def embed(self, texts: Sequence[str]) -> Floats:
        """(N, DIMENSIONS) of length 1: the mean over the text's words; zeros for a text without words."""
        import torch

        rows = torch.from_numpy(self.vocabulary.encode(texts))
        with torch.inference_mode():
            parts = [_mean(_hidden(self.network, part), part) for part in torch.split(rows, BATCH)]
        return unit(torch.cat(parts).numpy()) if parts else np.zeros((0, DIMENSIONS), np.float32)


def fit_masked_words(texts: Sequence[str], seed: int, epochs: int = EPOCHS) -> MaskedWords:
    """Train two layers to tell the masked words of these texts, on one thread's arithmetic and by `seed` alone.

    Source: Devlin et al. 2019, "BERT", section 3.1, without its next sentences. Raises ValueError without a known word.
    """
    import torch

    vocabulary = Vocabulary.of(texts)
    rows = torch.from_numpy(vocabulary.encode(texts))
    rows = rows[(rows > UNKNOWN).any(dim=1)]
    if not len(rows):
        raise ValueError("no word is in two texts: give more texts")
    network = _network(len(vocabulary), seed)
    losses = _train(network, rows, torch.Generator().manual_seed(seed), epochs)
    return MaskedWords(vocabulary, network.eval(), losses)


@one_thread()
def _train(
    network: "torch.nn.ModuleDict", rows: "torch.Tensor", generator: "torch.Generator", epochs: int
) -> tuple[float, ...]:
    """Mean loss of each epoch. rows: (N, L) word numbers."""
    import torch
    import torch.nn.functional as functional

    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    losses = []
    for _ in range(epochs):
        total, count = 0.0, 0
        for batch in torch.split(rows[torch.randperm(len(rows), generator=generator)], BATCH):
            is_masked = (torch.rand(batch.shape, generator=generator) < MASKED_SHARE) & (batch > UNKNOWN)
            if not is_masked.any():
                continue
            hidden = _hidden(network, batch.masked_fill(is_masked, MASK))[is_masked]
            loss = functional.cross_entropy(
                functional.linear(hidden, cast("torch.Tensor", network["words"].weight)), batch[is_masked]
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, count = total + float(loss.detach()) * int(is_masked.sum()), count + int(is_masked.sum())
        losses.append(total / max(count, 1))
    return tuple(losses)


def _network(words_known: int, seed: int) -> "torch.nn.ModuleDict":
    """Embeddings of words and places, and two layers. The caller's random state stays."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = nn.TransformerEncoderLayer(
            DIMENSIONS, nhead=4, dim_feedforward=2 * DIMENSIONS, dropout=0.0, batch_first=True, norm_first=True
        )
        network = nn.ModuleDict(
            {
                "words": nn.Embedding(words_known, DIMENSIONS, padding_idx=PADDING),
                "places": nn.Embedding(MAX_LENGTH, DIMENSIONS),
                "layers": nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(DIMENSIONS), enable_nested_tensor=False),
            }
        )
        for name in ("words", "places"):
            nn.init.normal_(network[name].weight, std=DIMENSIONS**-0.5)  # type: ignore[arg-type]
    return network


def _hidden(network: "torch.nn.ModuleDict", rows: "torch.Tensor") -> "torch.Tensor":
    """(B, L) word numbers -> (B, L, DIMENSIONS)."""
    # A row without words would attend to nothing, which is NaN.
    is_padding = (rows == PADDING) & (rows != PADDING).any(dim=1, keepdim=True)
    inputs = network["words"](rows) + network["places"].weight
    return network["layers"](inputs, src_key_padding_mask=is_padding)


def _mean(hidden: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
    """The mean over words, (B, DIMENSIONS); zeros where there are none."""
    is_word = (rows != PADDING).unsqueeze(2)
    return (hidden * is_word).sum(dim=1) / is_word.sum(dim=1).clamp(min=1)
