import numpy as np
import pytest

from msmm.quantities.calibration import OFFSET_PRECISION, SLOPE_PRECISION, Calibration, _solve_arrowhead
from msmm.quantities.held_out_predictions import HeldOutPredictions
from msmm.scoring.logits import sigmoid, to_logits


def make_predictions(z, y):
    return HeldOutPredictions(sigmoid(z), np.ones(len(z)), y)


def draw_logits(seed, n=400, classes=6, distort=lambda z: z):
    """Returns distorted logits, and labels drawn from the calibrated logits."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1.5, 1.5, size=(n, classes))
    return distort(z), rng.uniform(size=z.shape) < sigmoid(z)


def log_loss(z, y):
    return float((np.logaddexp(0, z) - y * z).mean())


def overconfident(z):
    return 2.5 * z + np.array([2.0, 1.0, 0.0, -1.0, 0.5, 0.0])


def test_calibration_improves_the_log_loss_of_unseen_images():
    calibration = Calibration.fit(make_predictions(*draw_logits(0, distort=overconfident)))
    z, y = draw_logits(1, distort=overconfident)
    true, _ = draw_logits(1)
    after = log_loss(calibration.logits(z), y)
    assert after < log_loss(z, y) - 0.1
    assert after < log_loss(true, y) + 0.01  # nearly the log loss of the true logits
    assert calibration.slope == pytest.approx(1 / 2.5, rel=0.15)
    assert calibration.probabilities(z).mean() == pytest.approx(y.mean(), abs=0.02)


def test_calibrated_probabilities_stay_nearly_unchanged():
    z, y = draw_logits(2, n=3000)
    calibration = Calibration.fit(make_predictions(z, y))
    assert calibration.slope == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(calibration.offsets, 0, atol=0.25)


@pytest.mark.parametrize("sign", [1, -1])
def test_calibration_is_increasing_even_for_a_classifier_worse_than_chance(sign):
    z, y = draw_logits(3)
    calibration = Calibration.fit(make_predictions(sign * z, y))
    rising = np.linspace(-5, 5, 50)[:, None] * np.ones(6)
    assert (np.diff(calibration.probabilities(rising), axis=0) > 0).all()
    assert calibration.probabilities(sign * z).mean() == pytest.approx(y.mean(), abs=0.01)


def test_fitted_parameters_maximise_the_posterior():
    z, y = draw_logits(4, n=60)
    calibration = Calibration.fit(make_predictions(z, y))
    z = to_logits(sigmoid(z))

    def cost(slope, offsets):
        common = np.mean(offsets)  # the optimal centre of the offsets
        prior = SLOPE_PRECISION * (slope - 1) ** 2 + OFFSET_PRECISION * ((offsets - common) ** 2).sum()
        return log_loss(slope * z + offsets, y) * y.size + prior / 2

    best = cost(calibration.slope, np.array(calibration.offsets))
    rng = np.random.default_rng(0)
    for scale in (0.1, 0.01, 0.001):
        for _ in range(50):
            moved = rng.normal(scale=scale, size=7)
            assert cost(calibration.slope + moved[0], np.array(calibration.offsets) + moved[1:]) > best - 1e-6


def test_class_offsets_are_shrunk_on_few_images():
    def spread(n):
        z, y = draw_logits(5, n=n, distort=overconfident)
        return np.ptp(Calibration.fit(make_predictions(z, y)).offsets)

    assert spread(15) < spread(2000) / 2
    assert spread(2000) == pytest.approx(3 / 2.5, rel=0.25)


def test_calibration_is_finite_without_positives_and_for_certain_probabilities():
    z, y = draw_logits(6, n=30)
    y[:, 1] = False
    p = sigmoid(z)
    p[0], p[1] = 0.0, 1.0
    calibration = Calibration.fit(HeldOutPredictions(p, np.ones(30), y))
    assert np.isfinite(calibration.slope) and np.isfinite(calibration.offsets).all()
    assert calibration.offsets[1] < np.delete(calibration.offsets, 1).min()


def test_arrowhead_system_is_solved_as_by_a_dense_solver():
    rng = np.random.default_rng(0)
    border, diagonal, right = rng.normal(size=(2, 9)), rng.uniform(10, 20, 9), rng.normal(size=11)
    corner = np.array([[30.0, 2.0], [2.0, 40.0]])
    dense = np.block([[corner, border], [border.T, np.diag(diagonal)]])
    solved = _solve_arrowhead(corner, border, diagonal, right)
    np.testing.assert_allclose(solved, np.linalg.solve(dense, right), rtol=1e-10)


def test_equal_images_are_fitted_once(monkeypatch):
    """Four rules fit it on all images and on the folds of their cross-validations."""
    fits, fit = [], Calibration._fit
    monkeypatch.setattr(Calibration, "_fit", lambda held_out: fits.append(held_out) or fit(held_out))
    monkeypatch.setattr("msmm.quantities.calibration._FITTED", {})
    z, y = draw_logits(7)
    first = Calibration.fit(make_predictions(z, y))
    assert Calibration.fit(make_predictions(z.copy(), y.copy())) is first and len(fits) == 1
    for other in (make_predictions(z + 0.1, y), make_predictions(z, ~y), make_predictions(z, y).take([0, 1])):
        assert Calibration.fit(other) != first
    assert len(fits) == 4
