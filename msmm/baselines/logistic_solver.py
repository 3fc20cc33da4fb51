"""C independent logistic regressions fitted to their optimum by L-BFGS, on features that are read in blocks.

    L = (1/N) Σ_i Σ_c BCE(y_ic, σ(z_ic)) + (λ/2)‖W‖²,    z = W x + b,    x = (f - mean) / deviation

The biases have no penalty, so at the optimum the mean probability of each class equals its frequency. A
feature that is constant in the rows has the weight 0.

L-BFGS is quick where the Hessian is near a multiple of the identity. The Hessian of a class is about w S + λ.
S is the covariance of x, and w = q (1 - q) for a class of frequency q. So the problem is solved in the
eigenvectors of S, each weight times √(w s + λ) with its eigenvalue s, each bias times √w.

All sums are float64. Memory: a block, D² for the covariance, and some 25 copies of W.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.optimize import minimize

from msmm.models.heads import label_rates

BLOCK = 4096  # images
GRADIENT = 1e-5  # largest entry of the gradient, of the scaled weights, at which the fit ends
CORRECTIONS = 20  # pairs that L-BFGS keeps


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the sum of the cross-entropies (nats) of logits, float64 [B, C], with labels, bool [B, C]."""
    return np.logaddexp(0, logits).sum() - logits[labels].sum()


class LogisticProblem:
    """The data of the regressions: features and labels of the rows that train, standardised.

    Args:
        features: float32 [M, D], any array that returns rows by an index array.
        labels: bool [M, C].
        rows: the N rows that train, int64 [N].

    Attributes:
        mean, scale: float64 [D]; x = (f - mean) scale.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, rows: np.ndarray):
        self._features, self._labels, self._rows = features, labels, rows
        total, size = np.zeros(features.shape[1]), len(rows)
        for start in range(0, size, BLOCK):
            total += features[rows[start : start + BLOCK]].sum(axis=0, dtype=np.float64)
        self.mean, self.scale = total / size, np.ones(len(total))
        covariance = sum(x.T @ x for x, _ in self.blocks()) / size
        variance = np.diag(covariance)
        varies = variance > (1e-6 * self.mean) ** 2
        self.scale = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)), 0)
        eigenvalues, self._axes = np.linalg.eigh(covariance * self.scale * self.scale[:, None])
        self._eigenvalues = np.maximum(eigenvalues, 0)
        rates = label_rates(labels[rows])
        self._curvatures = rates * (1 - rates)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields standardised features and labels, float64 [B, D] and bool [B, C]."""
        for start in range(0, len(self._rows), BLOCK):
            rows = self._rows[start : start + BLOCK]
            x = self._features[rows].astype(np.float64)
            x -= self.mean
            x *= self.scale
            yield x, self._labels[rows]

    def evaluate(self, weights: np.ndarray, bias: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Returns the mean cross-entropy of an image (nats) and its gradients, float64 [D, C] and [C]."""
        loss, by_weights, by_bias = 0.0, np.zeros_like(weights), np.zeros_like(bias)
        for x, y in self.blocks():
            z = x @ weights + bias
            loss += cross_entropy(z, y)
            error = 0.5 * (1 + np.tanh(z / 2)) - y
            by_weights += x.T @ error
            by_bias += error.sum(axis=0)
        size = len(self._rows)
        return float(loss / size), by_weights / size, by_bias / size

    def solve(
        self,
        weights: np.ndarray,
        bias: np.ndarray,
        penalty: float,
        iterations: int,
        advance: Callable[[], None] = lambda: None,
    ) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
        """Fits the regressions and returns weights [D, C] and bias [C] of f, float64, and figures.

        Args:
            weights: of f, where the fit begins, [D, C].
            bias: of f, where the fit begins, [C].
            penalty: λ.
            iterations: at most.
            advance: called after each iteration.
        """
        scaling = np.sqrt(self._curvatures * self._eigenvalues[:, None] + penalty)
        bias_scaling = np.sqrt(self._curvatures)
        cut = scaling.size

        def unpack(point):
            return point[:cut].reshape(scaling.shape) / scaling, point[cut:] / bias_scaling

        def objective(point):
            rotated, own_bias = unpack(point)
            loss, by_weights, by_bias = self.evaluate(self._axes @ rotated, own_bias)
            gradient = (self._axes.T @ by_weights + penalty * rotated) / scaling
            value = loss + penalty / 2 * float((rotated**2).sum())
            return value, np.concatenate([gradient.ravel(), by_bias / bias_scaling])

        standard = np.where(self.scale[:, None] > 0, weights / np.maximum(self.scale, 1e-300)[:, None], 0)
        start = np.concatenate(
            [((self._axes.T @ standard) * scaling).ravel(), (bias + self.mean @ weights) * bias_scaling]
        )
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=lambda _: advance(),
            options={
                "maxiter": iterations,
                "maxfun": 2 * iterations,
                "maxcor": CORRECTIONS,
                "gtol": GRADIENT,
                "ftol": 0.0,
            },
        )
        rotated, own_bias = unpack(found.x)
        weights = (self._axes @ rotated) * self.scale[:, None]
        loss = float(found.fun) - penalty / 2 * float((rotated**2).sum())
        figures = {
            "loss": loss,
            "objective": float(found.fun),
            "largest gradient": float(np.abs(found.jac).max()),
            "iterations": int(found.nit),
            "evaluations": int(found.nfev),
        }
        return weights, own_bias - self.mean @ weights, figures
