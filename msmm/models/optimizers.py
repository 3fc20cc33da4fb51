"""The paper's optimiser (IV-A3): SGD with momentum 0.9 and L2 weight decay."""

import contextlib

import keras


@keras.saving.register_keras_serializable("msmm")
class Momentum(keras.optimizers.SGD):
    """SGD with momentum whose gradient of every kernel K has λK added (decisions 6 and 7).

    That is the gradient of ½λ‖K‖², so the weight decay is L2 regularisation as the paper's
    TensorFlow had it, while the loss that is shown stays eq. 4 or 5 alone. Biases and batch
    normalisation are left out.
    """

    def __init__(self, learning_rate, momentum: float = 0.9, l2: float = 1e-4, **kwargs):
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.l2 = l2

    def apply(self, grads, trainable_variables=None):
        # Here and not in update_step, which on TensorFlow is given variables of other names.
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        decayed = [
            g + self.l2 * keras.ops.cast(v, g.dtype) if g is not None and v.name.endswith("kernel") else g
            for g, v in zip(grads, variables, strict=True)
        ]
        super().apply(decayed, trainable_variables)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}


def schedule(learning_rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Constant `learning_rate`, a tenth of it from two thirds of `steps` on (decision 4)."""
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [max(1, steps * 2 // 3)], [learning_rate, learning_rate / 10]
    )


@contextlib.contextmanager
def averaged(model: keras.Model):
    """Within it a compiled model has the running means of its weights, if its optimiser keeps these."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # that of loss scaling
    if not optimizer.use_ema:
        yield
        return
    means = keras.callbacks.SwapEMAWeights()
    means.set_model(model)
    means.on_test_begin()
    yield
    means.on_test_end()
