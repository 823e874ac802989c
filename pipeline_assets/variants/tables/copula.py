"""A Gaussian copula: correlations of normal scores, and normal numbers that have them.

Sums go through einsum, which stays on this thread, so that they have the same bytes whatever BLAS does.  Sources: Nelsen
2006, An introduction to copulas, 2nd ed.; Cario and Nelson 1997, Modeling and generating random vectors with arbitrary
marginal distributions and correlation matrix (NORTA), of which `calibrated` is a search by simulation.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import ndtri

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MIN_PAIRS = 30
"""A correlation of fewer rows is taken for nothing."""
ROUNDS = 20
SWEEPS = 30
SMALLEST = 1e-6
"""Eigenvalue of a correlation matrix."""


def scores(numbers: Floats) -> Floats:
    """(d, n) values, NaN for unknown, as standard normal ones by rank; equal values share the mean of their ranks."""
    frame = pl.DataFrame({str(at): values for at, values in enumerate(numbers)}, nan_to_null=True)
    shares = frame.select(((pl.all().rank() - 0.5) / pl.all().count()).fill_null(float("nan")))
    return np.stack([ndtri(column.to_numpy()) for column in shares])


def correlations(values: Floats) -> Floats:
    """(d, n) values, NaN for unknown, to (d, d) Pearson correlations over what is known of both; 0 for none."""
    known = ~np.isnan(values)
    zeroed, weights = np.where(known, values, 0.0), known.astype(np.float64)
    counts = _products(weights, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = _products(zeroed, weights) / counts
        variances = _products(zeroed**2, weights) / counts - means**2
        found = (_products(zeroed, zeroed) / counts - means * means.T) / np.sqrt(variances * variances.T)
    found[~np.isfinite(found) | (counts < MIN_PAIRS)] = 0.0
    np.fill_diagonal(found, 1.0)
    return np.clip(found, -1.0, 1.0)


def nearest(matrix: Floats) -> Floats:
    """A correlation matrix near a symmetric one of ones on the diagonal: what is negative in its spectrum is cut off."""
    values, vectors = spectrum(matrix)
    positive = np.einsum("ik,k,jk->ij", vectors, np.maximum(values, SMALLEST), vectors)
    scale = 1 / np.sqrt(np.diag(positive))
    found = positive * scale[:, None] * scale
    np.fill_diagonal(found, 1.0)
    return found


def factor(correlation: Floats) -> Floats:
    """Lower triangular L with L L' the correlation (Cholesky)."""
    lower = np.zeros_like(correlation)
    for at in range(len(correlation)):
        pivot = correlation[at, at] - np.einsum("k,k->", lower[at, :at], lower[at, :at])
        lower[at, at] = np.sqrt(np.maximum(pivot, SMALLEST**2))
        rest = correlation[at + 1 :, at] - np.einsum("ik,k->i", lower[at + 1 :, :at], lower[at, :at])
        lower[at + 1 :, at] = rest / lower[at, at]
    return lower


def calibrated(target: Floats, is_free: Bools, observe: Callable[[Floats], Floats], normals: Floats) -> Floats:
    """The factor whose normal numbers, once they are values, have the wanted correlations; steps and nulls weaken them.

    is_free: (d, d), pairs that nothing is known of. observe: (d, n) correlated normals to the correlations of their values.
    """
    latent = target
    best, best_error = np.eye(len(target)), np.inf
    for _ in range(ROUNDS):
        latent = nearest(latent)
        lower = factor(latent)
        missed = np.where(is_free, 0.0, target - observe(correlated(normals, lower)))
        error = float(np.abs(missed).sum())
        if error < best_error:
            best, best_error = lower, error
        latent = np.clip(latent + missed, -0.999, 0.999)
        np.fill_diagonal(latent, 1.0)
    return best


def correlated(normals: Floats, lower: Floats) -> Floats:
    """(d, n) independent normal numbers to correlated ones."""
    return np.einsum("dk,kn->dn", lower, normals)


def _products(left: Floats, right: Floats) -> Floats:
    return np.einsum("in,jn->ij", left, right)


def spectrum(matrix: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues and eigenvectors (columns) of a symmetric matrix, in no order: Jacobi's method, rounds of disjoint pairs.

    LAPACK's would do, were not its last bits another's on another processor or number of threads.  Source: Golub and Van
    Loan 2013, Matrix computations, 4th ed., 8.5.
    """
    size = len(matrix)
    found, vectors = matrix.copy(), np.eye(size)
    # One circle of a tournament: the first stays, the others move on; an odd size has a bye, which is -1.
    ring = [*range(size), *([-1] if size % 2 else [])]
    for _ in range(SWEEPS):
        if np.abs(found - np.diag(np.diag(found))).max(initial=0.0) < 1e-12:
            break
        for _ in range(len(ring) - 1):
            half = len(ring) // 2
            pairs = [pair for pair in zip(ring[:half], reversed(ring[half:]), strict=True) if -1 not in pair]
            _rotate(found, vectors, *np.array(pairs).T)
            ring = [ring[0], ring[-1], *ring[1:-1]]
    return np.diag(found).copy(), vectors


def _rotate(matrix: Floats, vectors: Floats, one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> None:
    """Make the elements between pairs of axes zero."""
    between = matrix[one, other]
    some = np.where(between == 0, 1.0, between)
    slope = (matrix[other, other] - matrix[one, one]) / (2 * some)
    tangent = np.where(slope < 0, -1.0, 1.0) / (np.abs(slope) + np.sqrt(slope**2 + 1)) * (between != 0)
    cosine = 1 / np.sqrt(tangent**2 + 1)
    sine = tangent * cosine
    for rotated in (matrix, matrix.T, vectors.T):
        first, second = rotated[one], rotated[other]
        rotated[one] = cosine[:, None] * first - sine[:, None] * second
        rotated[other] = sine[:, None] * first + cosine[:, None] * second
