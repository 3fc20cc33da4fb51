import itertools

import numpy as np
import pytest

from msmm.quantities.count_distribution import best_expected_f1, count_limit, expected_f1, poisson_binomial

CASES = {
    "random": np.random.default_rng(0).uniform(size=(20, 6)),
    "small": np.random.default_rng(1).uniform(0, 0.05, size=(20, 6)),
    "large": np.random.default_rng(2).uniform(0.9, 1, size=(20, 6)),
    "equal": np.full((1, 6), 0.3),
    "certain": np.array([[0, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0.5, 0, 1, 0, 1, 0.5]], float),
    "none": np.zeros((1, 6)),
}


def enumerate_label_sets(p):
    """Yields every set of C labels and its probability, in plain loops."""
    for truth in itertools.product((0, 1), repeat=len(p)):
        yield truth, np.prod([q if present else 1 - q for q, present in zip(p, truth, strict=True)])


@pytest.mark.parametrize("name", CASES)
def test_poisson_binomial_equals_the_sum_over_all_subsets(name):
    for p, computed in zip(CASES[name], poisson_binomial(CASES[name]), strict=True):
        expected = np.zeros(7)
        for truth, probability in enumerate_label_sets(p):
            expected[sum(truth)] += probability
        np.testing.assert_allclose(computed, expected, atol=1e-14)


def brute_force_f1(p, chosen):
    total = 0.0
    for truth, probability in enumerate_label_sets(p):
        both = sum(a and b for a, b in zip(truth, chosen, strict=True))
        total += probability * 2 * both / (sum(truth) + sum(chosen))
    return total


@pytest.mark.parametrize("name", CASES)
def test_best_expected_f1_is_optimal_among_all_label_sets(name):
    """Compares with every set of labels, not only the k likeliest."""
    for p, k in zip(CASES[name][:6], best_expected_f1(CASES[name][:6]), strict=True):
        sets = [s for s in itertools.product((0, 1), repeat=6) if any(s)]
        best = max(brute_force_f1(p, chosen) for chosen in sets)
        chosen = np.isin(np.arange(6), np.argsort(-p, kind="stable")[:k])
        assert brute_force_f1(p, chosen) == pytest.approx(best, abs=1e-9)


def test_expected_f1_of_every_k_equals_brute_force():
    p = -np.sort(-CASES["random"][:4], axis=1)
    for row, computed in zip(p, expected_f1(p), strict=True):
        expected = [brute_force_f1(row, np.arange(6) < k) for k in range(1, 7)]
        np.testing.assert_allclose(computed, expected, atol=1e-9)


def test_expected_f1_of_a_batch_equals_single_images():
    p = np.random.default_rng(3).beta(0.1, 3, size=(300, 120))
    together = best_expected_f1(p)
    np.testing.assert_array_equal(together[:5], [best_expected_f1(p[i : i + 1])[0] for i in range(5)])
    np.testing.assert_allclose(poisson_binomial(p).sum(axis=1), 1)
    np.testing.assert_allclose(poisson_binomial(p) @ np.arange(121), p.sum(axis=1))


def test_certain_images_get_few_labels_and_uncertain_images_more():
    """The F1 of one label among ten at p = 0.2 each is lower than the F1 of several."""
    assert best_expected_f1(np.array([[0.99, *[0.01] * 9]]))[0] == 1
    assert best_expected_f1(np.full((1, 10), 0.2))[0] > 2


@pytest.mark.parametrize("negligible", [1e-3, 1e-15])
def test_counts_from_the_limit_on_are_negligible(negligible):
    p = np.random.default_rng(4).beta(0.05, 4, size=(50, 800))
    size, whole = count_limit(p, negligible), poisson_binomial(p)
    assert 2 <= size < 100
    assert whole[:, size:].sum(axis=1).max() <= negligible
    np.testing.assert_array_equal(poisson_binomial(p, size), whole[:, :size])


def test_limit_of_certain_counts_is_at_most_all_counts():
    assert count_limit(np.ones((2, 7))) == 8
    assert count_limit(np.zeros((2, 7))) == 2
    assert count_limit(np.full((1, 1), 0.5)) == 2
