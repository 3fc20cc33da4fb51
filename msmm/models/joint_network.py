"""The complete model as one network that is trained at once: what stage joint adds to its parts."""

import keras
from keras import layers


def build_joining(f_v_size: int, f_t_size: int, dropout: float) -> keras.Model:
    """Builds f_v [B, D] and f_t [B, E] -> the inputs of the heads, f_v and [f_v, f_t], with dropout."""
    f_v, f_t = keras.Input((f_v_size,), name="f_v"), keras.Input((f_t_size,), name="f_t")
    dropped = (
        layers.Dropout(dropout, name="f_v_dropout")(f_v),
        layers.Dropout(dropout, name="f_t_dropout")(f_t),
    )
    return keras.Model([f_v, f_t], [dropped[0], layers.Concatenate(name="joint")(dropped)], name="joining")


def build_weighting(num_outputs: int, num_losses: int) -> keras.Model:
    """Builds outputs [B, n] -> [B, n + losses]: appends the log-variances of the losses, which start at 0."""
    outputs = keras.Input((num_outputs,), name="outputs")
    return keras.Model(outputs, LogVariances(num_losses, name="log_variances")(outputs), name="weighting")


@keras.saving.register_keras_serializable("msmm")
class LogVariances(layers.Layer):
    """Appends `number` trained values to each row."""

    def __init__(self, number: int, **kwargs):
        super().__init__(**kwargs)
        self.number = number

    def build(self, input_shape):
        self.values = self.add_weight(shape=(self.number,), initializer="zeros", name="log_variance")

    def call(self, inputs):
        rows = keras.ops.shape(inputs)[0]
        return keras.ops.concatenate([inputs, keras.ops.tile(self.values[None], (rows, 1))], axis=1)

    def get_config(self):
        return {**super().get_config(), "number": self.number}


def build_joint_network(inputs: list, maps: list, parts: dict[str, keras.Model]) -> keras.Model:
    """Builds [*inputs, tags] -> [B, 2 C + 2 + 4]: logits and quantity of the heads on [f_v, f_t], the same of
    the heads on f_v alone, and the four log-variances. maps: M_1 … M_5, computed from `inputs`."""
    tags = keras.Input(parts["textual"].input_shape[1:], name="tags")
    f_v, f = parts["joining"]([parts["multi_scale"](maps), parts["textual"](tags)])
    outputs = [parts["classifier"](f), parts["quantity"](f)]
    outputs += [parts["visual_head"](f_v), parts["quantity_visual"](f_v)]
    return keras.Model([*inputs, tags], parts["weighting"](layers.Concatenate(name="head_outputs")(outputs)))
