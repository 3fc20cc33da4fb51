import numpy as np
import pytest

from msmm.baselines.label_graph import find_relations


def indicator_columns(*sets, num=40):
    """Returns bool [num, concepts] from the image numbers of each concept."""
    occurs = np.zeros((num, len(sets)), bool)
    for concept, images in enumerate(sets):
        occurs[list(images), concept] = True
    return occurs


def test_perfect_correlation_is_positive_and_exclusion_negative():
    # φ of (0, 1) is 1, so z = √40 = 6.3; of (0, 2) it is -1; of (0, 3) 0; 4 always occurs, 5 never.
    concepts = indicator_columns(range(20), range(20), range(20, 40), range(10, 30), range(40), [])
    positive, negative = find_relations(concepts, concepts)
    assert np.argwhere(positive).tolist() == [[0, 1], [1, 0]]
    assert np.argwhere(negative).tolist() == [[0, 2], [1, 2], [2, 0], [2, 1]]


@pytest.mark.parametrize(("num", "significant"), [(16, False), (17, True)])
def test_a_relation_needs_more_than_four_standard_deviations(num, significant):
    """φ = ±1, so z = ±√num: 16 images give 4, which is not more than 4."""
    half = range(num // 2)
    concepts = indicator_columns(half, half, set(range(num)) - set(half), num=num)
    positive, negative = find_relations(concepts, concepts)
    assert positive[0, 1] == significant
    assert negative[0, 2] == significant


def test_relations_equal_those_of_contingency_tables():
    rng = np.random.default_rng(0)
    topic = rng.integers(0, 5, 5000)
    labels = rng.random((5000, 7)) < 0.1 + 0.5 * (np.arange(7) == topic[:, None])
    tags = rng.random((5000, 45)) < 0.02 + 0.4 * (np.arange(45) % 6 == topic[:, None])
    positive, negative = find_relations(labels, tags)
    lifts = np.full((7, 45), -np.inf)
    z = np.zeros((7, 45))
    for a in range(7):
        for b in range(45):
            observed = np.array(
                [[np.sum((labels[:, a] == i) & (tags[:, b] == j)) for j in (0, 1)] for i in (0, 1)]
            )
            expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0) / 5000
            chi2 = ((observed - expected) ** 2 / expected).sum()
            z[a, b] = np.sign(observed[1, 1] - expected[1, 1]) * np.sqrt(chi2)
            lifts[a, b] = observed[1, 1] / expected[1, 1]  # exp PMI
    strongest = [set(np.argsort(-row, kind="stable")[:5]) for row in lifts]  # a strongest of 45, rounded up
    expected = [[z[a, b] > 4 and b in strongest[a] for b in range(45)] for a in range(7)]
    np.testing.assert_array_equal(positive, expected)
    np.testing.assert_array_equal(negative, z < -4)
    assert positive.any()
    assert negative.any()
    assert ((z > 4) & ~positive).any()


def test_a_concept_has_at_most_50_positive_relations():
    concepts = np.repeat(indicator_columns(range(20), num=40), 700, axis=1)
    positive, _ = find_relations(concepts, concepts)
    assert (positive.sum(axis=1) == 50).all()
    assert not positive.diagonal().any()
    assert positive[699, :50].all()  # the lower ids of equals


@pytest.mark.parametrize("own", [True, False])
def test_relations_computed_in_blocks_are_the_same(own, monkeypatch):
    rng = np.random.default_rng(0)
    topic = rng.integers(0, 5, 2000)
    rows = rng.random((2000, 23)) < 0.02 + 0.4 * (np.arange(23) % 6 == topic[:, None])
    columns = rows if own else rng.random((2000, 30)) < 0.1 + 0.5 * (np.arange(30) % 5 == topic[:, None])
    whole = find_relations(rows, columns)
    monkeypatch.setattr("msmm.baselines.label_graph._PAIRS", columns.shape[1] * 4)
    for computed, expected in zip(find_relations(rows, columns), whole, strict=True):
        assert expected.any()
        np.testing.assert_array_equal(computed, expected)
