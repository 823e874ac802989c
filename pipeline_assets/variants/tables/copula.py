"""A Gaussian copula: correlations of normal scores, and normal numbers that have them.

Sums use einsum, which stays on this thread, so that their bytes do not depend on the BLAS.  Sources: Nelsen
2006, An introduction to copulas, 2nd ed.; Cario and Nelson 1997, Modeling and generating random vectors with arbitrary
marginal distributions and correlation matrix (NORTA), which `calibrated` does by simulation.
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
    """(d, n) values, NaN for unknown, to standard normal ones by rank; equal values share the mean of their ranks."""
    frame = pl.DataFrame({str(at): values for at, values in enumerate(numbers)}, nan_to_null=True)
    shares = frame.select(((pl.all().rank() - 0.5) / pl.all().count()).fill_null(float("nan")))
    return np.stack([ndtri(column.to_numpy()) for column in shares])


def correlations(values: Floats) -> Floats:
    """(d, n) values, NaN for unknown, to (d, d) Pearson correlations over pairs of known values; 0 without any."""
    is_known = ~np.isnan(values)
    zeroed, weights = np.where(is_known, values, 0.0), is_known.astype(np.float64)
    counts = _products(weights, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = _products(zeroed, weights) / counts
        variances = _products(zeroed**2, weights) / counts - means**2
        result = (_products(zeroed, zeroed) / counts - means * means.T) / np.sqrt(variances * variances.T)
    result[~np.isfinite(result) | (counts < MIN_PAIRS)] = 0.0
    np.fill_diagonal(result, 1.0)
    return np.clip(result, -1.0, 1.0)


def nearest(matrix: Floats) -> Floats:
    """A correlation matrix near a symmetric one with a unit diagonal: negative eigenvalues are clipped."""
    values, vectors = spectrum(matrix)
    positive = np.einsum("ik,k,jk->ij", vectors, np.maximum(values, SMALLEST), vectors)
    scale = 1 / np.sqrt(np.diag(positive))
    result = positive * scale[:, None] * scale
    np.fill_diagonal(result, 1.0)
    return result


def factor(correlation: Floats) -> Floats:
    """Lower triangular L with L L' the correlation (Cholesky)."""
    lower = np.zeros_like(correlation)
    for at in range(len(correlation)):
        pivot = correlation[at, at] - np.einsum("k,k->", lower[at, :at], lower[at, :at])
        lower[at, at] = np.sqrt(np.maximum(pivot, SMALLEST**2))
        remainder = correlation[at + 1 :, at] - np.einsum("ik,k->i", lower[at + 1 :, :at], lower[at, :at])
        lower[at + 1 :, at] = remainder / lower[at, at]
    return lower


def calibrated(target: Floats, is_free: Bools, observe: Callable[[Floats], Floats], normals: Floats) -> Floats:
    """The factor whose normal numbers, mapped to values, have the target correlations; steps and nulls weaken them.

    is_free: (d, d), pairs without known values. observe: (d, n) correlated normals to the correlations of their values.
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

    LAPACK is not used, since its last bits depend on the processor and the number of threads.  Source: Golub and Van
    Loan 2013, Matrix computations, 4th ed., 8.5.
    """
    size = len(matrix)
    rotated_matrix, vectors = matrix.copy(), np.eye(size)
    # A round-robin schedule: the first stays, the others rotate; an odd size has a bye, -1.
    ring = [*range(size), *([-1] if size % 2 else [])]
    for _ in range(SWEEPS):
        if np.abs(rotated_matrix - np.diag(np.diag(rotated_matrix))).max(initial=0.0) < 1e-12:
            break
        for _ in range(len(ring) - 1):
            half = len(ring) // 2
            pairs = [pair for pair in zip(ring[:half], reversed(ring[half:]), strict=True) if -1 not in pair]
            _rotate(rotated_matrix, vectors, *np.array(pairs).T)
            ring = [ring[0], ring[-1], *ring[1:-1]]
    return np.diag(rotated_matrix).copy(), vectors


def _rotate(matrix: Floats, vectors: Floats, first_axes: npt.NDArray[np.int64], second_axes: npt.NDArray[np.int64]) -> None:
    """Make the elements between pairs of axes zero."""
    off_diagonal = matrix[first_axes, second_axes]
    some = np.where(off_diagonal == 0, 1.0, off_diagonal)
    slope = (matrix[second_axes, second_axes] - matrix[first_axes, first_axes]) / (2 * some)
    tangent = np.where(slope < 0, -1.0, 1.0) / (np.abs(slope) + np.sqrt(slope**2 + 1)) * (off_diagonal != 0)
    cosine = 1 / np.sqrt(tangent**2 + 1)
    sine = tangent * cosine
    for rotated in (matrix, matrix.T, vectors.T):
        first, second = rotated[first_axes], rotated[second_axes]
        rotated[first_axes] = cosine[:, None] * first - sine[:, None] * second
        rotated[second_axes] = sine[:, None] * first + cosine[:, None] * second
