"""LEACE by hand, its guarantee, agreement with the authors' package, and the random control that has neither."""

import numpy as np
import pytest

from biasunlearn.stats.leace import concept, erasure, random_erasure, rank_of


def data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """500 states of 6 numbers with two numbers of a concept that moves some of them, far from isotropic."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((500, 2))
    x = rng.standard_normal((500, 6)) @ rng.standard_normal((6, 6)) + z @ rng.standard_normal((2, 6))
    return x, z


def moments(x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centred = x - x.mean(0)
    return centred.T @ centred / len(x), centred.T @ (z - z.mean(0)) / len(x)


def test_the_projection_by_hand() -> None:
    found = erasure(np.diag([4.0, 1.0]), np.array([[2.0], [1.0]]))
    assert np.allclose(found, [[0.5, 1.0], [0.25, 0.5]])
    assert np.allclose(found @ found, found) and rank_of(found) == 1
    # An orthogonal projection on (2, 1) would be [[0.8, 0.4], [0.4, 0.2]]: another matrix, and a larger change of X.
    orthogonal = np.array([[0.8, 0.4], [0.4, 0.2]])
    changes = [float(np.trace(p @ np.diag([4.0, 1.0]) @ p.T)) for p in (found, orthogonal)]
    assert changes[0] == pytest.approx(2.5) and changes[1] == pytest.approx(3.4)


def test_after_erasure_no_linear_predictor_is_left_and_after_the_control_there_is() -> None:
    x, z = data()
    covariance, cross = moments(x, z)
    for projection, zero in (
        (erasure(covariance, cross), True), (random_erasure(covariance, 2, np.random.default_rng(1)), False),
    ):  # fmt: skip
        assert rank_of(projection) == 2 and np.allclose(projection @ projection, projection)
        left = moments(x - (x - x.mean(0)) @ projection.T, z)[1]
        assert bool(np.abs(left).max() < 1e-10 * np.abs(cross).max()) is zero


def test_erasure_and_control_remove_the_same_variance_in_the_whitened_space() -> None:
    x, z = data()
    covariance, cross = moments(x, z)
    for projection in (erasure(covariance, cross), random_erasure(covariance, 2, np.random.default_rng(2))):
        removed = projection @ covariance @ projection.T
        assert np.trace(removed @ np.linalg.inv(covariance)) == pytest.approx(2.0)


def test_it_is_that_of_the_authors_package() -> None:
    package = pytest.importorskip("concept_erasure", reason="concept-erasure is not installed (extra: erasure)")
    import torch

    x, z = data()
    fitter = package.LeaceFitter(6, 2, shrinkage=False, constrain_cov_trace=False, svd_tol=1e-9, dtype=torch.float64)
    eraser = fitter.update(torch.tensor(x), torch.tensor(z)).eraser
    assert np.allclose(erasure(*moments(x, z)), (eraser.proj_left @ eraser.proj_right).numpy(), atol=1e-9)


def test_states_that_do_not_vary_in_a_direction_are_left_there() -> None:
    covariance, cross = np.diag([4.0, 1.0, 0.0]), np.array([[2.0], [1.0], [0.0]])
    assert np.allclose(erasure(covariance, cross)[2], 0) and np.allclose(erasure(covariance, cross)[:, 2], 0)
    drawn = random_erasure(covariance, 2, np.random.default_rng(0))
    assert np.allclose(drawn, np.diag([1.0, 1.0, 0.0]))  # two of two directions


def test_the_concept_has_the_side_and_where_else_pairs_differ() -> None:
    differences = np.array([[3.0, 1.0], [3.0, -1.0]])
    assert concept(differences, 1).tolist() == [[1.0], [1.0]]
    found = concept(differences, 2)
    assert found[:, 0].tolist() == [1.0, 1.0] and sorted(found[:, 1].round(9)) == [-1.0, 1.0]
    # The span of Cov(X, Z) has the mean difference and the component, here the whole plane.
    x = np.vstack([differences / 2, -differences / 2])
    cross = moments(x, np.vstack([found, -found]))[1]
    assert np.linalg.matrix_rank(cross) == 2
