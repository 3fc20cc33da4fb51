"""CNN+logistic: C independent logistic regressions on the features of an ImageNet network.

The row of Tables III and IV is a baseline of Hu, Zhou, Deng, Liao, Mori, "Learning Structured Inference
Neural Networks with Label Relations":

    p = σ(W f + b),    L = Σ_c BCE(y_c, p_c) + (λ/2)‖W‖²,    the three best p are the annotation

The trunk keeps its ImageNet weights (otherwise the row would be the paper's own row "CNN"); without
pretrained weights, the trunk of stage finetune is used. W belongs to f standardised with mean and
deviation of the images that train; what is saved has the two folded into W and b.

L has one optimum, and `logistic_solver` computes it. Of a grid of λ, from the largest down, the one with the
lowest held-out loss is kept; the grid ends early once two values in a row are no better. The published
NUS-WIDE row has an I-P/I-R that no top-3 rule gives under eq. 6: its source probably averages per image,
which raises I-R.
"""

import functools
from collections.abc import Callable

import keras
import numpy as np

from msmm.baselines.baseline import Baseline
from msmm.baselines.logistic_solver import LogisticProblem
from msmm.core.errors import UserError
from msmm.models import heads


class Logistic(Baseline):
    title = "CNN+logistic [25]"
    trunk = "pretrained"
    score_at_half_probability = 0.0

    def build(self) -> keras.Model:
        """2,048 C + C parameters on ResNet-101's features; W starts at 0, b at the log-odds of the labels."""
        feature = keras.Input((self.feature_size,), name="feature")
        bias = heads.start_at(heads.log_odds(self.train_labels))
        logits = keras.layers.Dense(
            self.num_classes, kernel_initializer="zeros", bias_initializer=bias, name="logits"
        )
        return keras.Model(feature, logits(feature))

    def penalties(self) -> list[float]:
        """Returns the grid of λ: half decades, the largest first."""
        settings = self.config.logistic
        largest, smallest = np.log10(settings.l2_largest), np.log10(settings.l2_smallest)
        if smallest > largest:
            raise UserError(
                f"expected logistic_l2_smallest <= logistic_l2_largest. Received: {settings.l2_smallest:g} "
                f"and {settings.l2_largest:g}"
            )
        exponents = np.arange(round(2 * float(largest - smallest)) + 1) / 2
        factors = [float(f"{10**-exponent:.1g}") for exponent in exponents]  # 1, 0.3, 0.1 …
        # 15 digits drop the error of the product: 0.00009, not 0.00008999…
        return [float(f"{settings.l2_largest * factor:.15g}") for factor in factors]

    def solve(self, network: keras.Model, penalty: float, advance: Callable[[], None]) -> dict[str, float]:
        """Sets the network's weights to the optimum of L for a λ, from those that it has."""
        layer = network.get_layer("logits")
        weights, bias = (value.astype(np.float64) for value in layer.get_weights())
        iterations = self.config.logistic.iterations
        weights, bias, figures = self._problem.solve(weights, bias, penalty, iterations, advance)
        layer.set_weights([weights, bias])
        return figures

    @functools.cached_property
    def _problem(self) -> LogisticProblem:
        return LogisticProblem(self.features("train"), self.splits["train"].labels, self.train_rows)
