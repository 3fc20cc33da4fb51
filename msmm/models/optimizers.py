"""The paper's optimiser (IV-A3): SGD with momentum 0.9 and L2 weight decay."""

import contextlib

import keras


@keras.saving.register_keras_serializable("msmm")
class Momentum(keras.optimizers.SGD):
    """SGD with momentum that adds λK to the gradient of every kernel K (decisions 6 and 7).

    That is the gradient of ½λ‖K‖²: the weight decay is L2 regularisation, as in the paper's
    TensorFlow, while the reported loss is eq. 4 or 5 alone. Biases and batch
    normalisation are excluded.
    """

    def __init__(self, learning_rate, momentum: float = 0.9, l2: float = 1e-4, **kwargs):
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.l2 = l2

    def apply(self, grads, trainable_variables=None):
        # Not in update_step, whose variables have other names on TensorFlow.
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        decayed = [
            g + self.l2 * keras.ops.cast(v, g.dtype) if g is not None and v.name.endswith("kernel") else g
            for g, v in zip(grads, variables, strict=True)
        ]
        super().apply(decayed, trainable_variables)

    def get_config(self):
        return {**super().get_config(), "l2": self.l2}


def schedule(learning_rate: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a constant `learning_rate`, a tenth of it from two thirds of `steps` on (decision 4)."""
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [max(1, steps * 2 // 3)], [learning_rate, learning_rate / 10]
    )


_ADAMW_WEIGHT_DECAY = 0.01  # times the rate a step; usual
_ADAMW_CLIP = 5.0  # the largest norm of a gradient; early squared errors of the quantity are large


def adamw(learning_rate: float, steps: int, ema: float = 0.0) -> keras.optimizers.Optimizer:
    """Returns AdamW with cosine decay from `learning_rate` to 0 in `steps` (beyond the paper).

    Biases, batch normalisation and loss weights do not decay.

    Args:
        learning_rate: of the first step.
        steps: of the whole training.
        ema: decay of the moving average of the weights, share kept a step; 0: none.
    """
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(learning_rate, steps),
        weight_decay=_ADAMW_WEIGHT_DECAY,
        global_clipnorm=_ADAMW_CLIP,
        use_ema=ema > 0,
        ema_momentum=ema,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "log_variance"])
    return optimizer


def has_schedule(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether the learning rate of an optimiser follows a schedule, not a variable."""
    return isinstance(_unwrap(optimizer).get_config()["learning_rate"], dict)


def without_schedule(
    optimizer: keras.optimizers.Optimizer, learning_rate: float
) -> keras.optimizers.Optimizer:
    """Returns an equal optimiser, not yet built, with a learning rate that can be assigned."""
    return type(optimizer).from_config({**optimizer.get_config(), "learning_rate": learning_rate})


def _unwrap(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Returns the optimiser inside of a loss scaling."""
    return getattr(optimizer, "inner_optimizer", optimizer)


@contextlib.contextmanager
def averaged(model: keras.Model):
    """Gives a compiled model the moving averages of its weights, if its optimiser keeps them."""
    if not _unwrap(model.optimizer).use_ema:
        yield
        return
    means = keras.callbacks.SwapEMAWeights()
    means.set_model(model)
    means.on_test_begin()
    yield
    means.on_test_end()
