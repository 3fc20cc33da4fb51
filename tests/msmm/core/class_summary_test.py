import itertools

import numpy as np

from msmm.core.class_summary import ENDS, GROUPS, MANY, frequency_groups, shown_classes


def test_few_classes_are_all_shown_by_id():
    values = np.random.default_rng(0).random(MANY)
    values[3] = np.nan
    np.testing.assert_array_equal(shown_classes(values), np.arange(MANY))


def test_of_many_classes_the_best_and_the_worst_known_ones_are_shown():
    rng = np.random.default_rng(0)
    values = rng.permutation(1000).astype(float)
    values[rng.choice(1000, 100, replace=False)] = np.nan
    known = sorted(values[~np.isnan(values)], reverse=True)
    assert values[shown_classes(values)].tolist() == known[:ENDS] + known[-ENDS:]


def test_of_many_classes_without_values_each_known_one_is_shown_once():
    values = np.full(1000, np.nan)
    values[[5, 2, 9]] = 1.0, 3.0, 2.0
    assert shown_classes(values).tolist() == [2, 9, 5]


def test_frequency_groups_hold_every_class_once_the_frequent_first():
    frequency = np.random.default_rng(0).integers(0, 1000, 503)
    groups = frequency_groups(frequency)
    assert len(groups) == GROUPS and sorted(np.concatenate(groups)) == list(range(503))
    for before, after in itertools.pairwise(groups):
        assert frequency[before].min() >= frequency[after].max()
