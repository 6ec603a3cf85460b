"""LEACE, least-squares concept erasure (Belrose et al., arXiv 2306.03819), from covariances, and its random control.

The concept Z has k numbers for every state X. Section 4 of the paper: of all affine maps after which X and Z are
uncorrelated, so that no linear predictor of Z does better than a constant, the one that changes X least is

    r(x) = x - P (x - E[X]),    P = W^+ U U^T W,    W = (Cov X)^(-1/2),

with the columns of U an orthonormal basis of those of W Cov(X, Z), and ^+ the pseudoinverse. P has rank k or less and
is an oblique projection: it removes the span of Cov(X, Z), along the directions in which X varies.

The control removes k random directions in the same way: U is drawn uniformly instead. In the whitened space every
direction has variance 1, so that an erasure and its control remove the same share of the variance there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from biasunlearn.stats.subspaces import components

Floats = NDArray[np.float64]

SMALLEST = 1e-8
"""Directions with a smaller share of the largest variance, or covariance with Z, count as 0."""


@dataclass(frozen=True, slots=True)
class StateMoments:
    """The mean and the covariances of hidden states with the concepts of all bias types."""

    mean: Floats  # [hidden]
    covariance: Floats  # [hidden, hidden]
    cross: Mapping[str, Floats]
    """Bias type -> Cov(X, Z) of its concept, [hidden, k]."""


def concept(differences: Floats, rank: int) -> Floats:
    """The concept Z of the stereotype of every pair: [pairs, k], k = rank or less. The anti-stereotype has -Z.

    The first column is 1: which side of the pair the sentence is on. The others are the coordinates of the pair's
    difference, less the mean difference, in the first principal components of these: where else the pairs differ.

    By hand: differences (3, 1) and (3, -1), rank 2: the mean is (3, 0), the first component of the rest (0, 1) or
    (0, -1), so that Z is (1, 1) and (1, -1), or the two exchanged.

    Args:
        differences: [pairs, hidden] state of the stereotype less that of the anti-stereotype.
    """
    side = np.ones((len(differences), 1))
    if rank == 1:
        return side
    centred = differences - differences.mean(0)
    return np.hstack([side, centred @ components(centred, rank - 1)])


def erasure(covariance: Floats, cross: Floats) -> Floats:
    """The projection P of LEACE: [hidden, hidden].

    By hand, Cov X = diag(4, 1) and Cov(X, Z) = (2, 1): W Cov(X, Z) = (1, 1), U U^T = [[0.5, 0.5], [0.5, 0.5]], and P =
    [[0.5, 1], [0.25, 0.5]], which leaves nothing of (2, 1).

    Args:
        covariance: [hidden, hidden] of X.
        cross: [hidden, k] Cov(X, Z).
    """
    whiten, unwhiten = _whitening(covariance)
    left, values, _ = np.linalg.svd(whiten @ cross, full_matrices=False)
    basis = left[:, values > SMALLEST * max(values[0], np.finfo(float).tiny)]
    return unwhiten @ basis @ basis.T @ whiten


def random_erasure(covariance: Floats, rank: int, rng: np.random.Generator) -> Floats:
    """The projection that removes `rank` random directions in the same way: [hidden, hidden]."""
    whiten, unwhiten = _whitening(covariance)
    inside = whiten @ unwhiten  # the projection on the directions in which X varies at all
    basis = np.linalg.qr(inside @ rng.standard_normal((len(covariance), rank))).Q
    return unwhiten @ basis @ basis.T @ whiten


def rank_of(projection: Floats) -> int:
    """The rank of a projection, which is its trace."""
    return round(float(np.trace(projection)))


def _whitening(covariance: Floats) -> tuple[Floats, Floats]:
    """(Cov X)^(-1/2) and its pseudoinverse, both symmetric."""
    variances, axes = np.linalg.eigh(covariance)
    roots = np.sqrt(np.clip(variances, 0, None))
    used = variances > SMALLEST * variances[-1]
    inverse = np.divide(1.0, roots, out=np.zeros_like(roots), where=used)
    return (axes * inverse) @ axes.T, (axes * np.where(used, roots, 0.0)) @ axes.T
