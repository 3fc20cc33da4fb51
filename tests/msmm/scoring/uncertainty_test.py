import numpy as np

from msmm.scoring.uncertainty import expected_errors, order_by_uncertainty


def test_expected_errors_add_up_the_smaller_of_each_probability_and_its_complement():
    probabilities = np.array([[0.9, 0.2], [0.5, 0.5], [1, 0], [0.9, 0.2]], np.float16)
    np.testing.assert_allclose(expected_errors(probabilities), [0.3, 1, 0, 0.3], atol=1e-3)
    assert order_by_uncertainty(probabilities).tolist() == [1, 0, 3, 2]  # ties keep their order
