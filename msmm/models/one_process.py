"""The complete model as one network for training all of it at once: what stage joint adds to its parts."""

import keras
from keras import layers


def joining(f_v_size: int, f_t_size: int, dropout: float) -> keras.Model:
    """f_v [B, D] and f_t [B, E] to what the heads see: f_v and [f_v, f_t], thinned out in training."""
    f_v, f_t = keras.Input((f_v_size,), name="f_v"), keras.Input((f_t_size,), name="f_t")
    seen = layers.Dropout(dropout, name="f_v_dropout")(f_v), layers.Dropout(dropout, name="f_t_dropout")(f_t)
    return keras.Model([f_v, f_t], [seen[0], layers.Concatenate(name="joint")(seen)], name="joining")


def weighting(num_outputs: int, num_losses: int) -> keras.Model:
    """Outputs [B, n] to [B, n + losses]: with the log-variances of the losses, trained from 0 on."""
    outputs = keras.Input((num_outputs,), name="outputs")
    return keras.Model(outputs, LogVariances(num_losses, name="log_variances")(outputs), name="weighting")


@keras.saving.register_keras_serializable("msmm")
class LogVariances(layers.Layer):
    """Appends as many trained numbers to each row."""

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


def network(inputs: list, maps: list, parts: dict[str, keras.Model]) -> keras.Model:
    """[*inputs, tags] to [B, 2 C + 2 + 4]: logits and quantity of the heads on [f_v, f_t], the same of the
    heads on f_v alone, and the four log-variances. maps: M_1 … M_5, made of `inputs`."""
    tags = keras.Input(parts["textual"].input_shape[1:], name="tags")
    f_v, joint = parts["joining"]([parts["multi_scale"](maps), parts["textual"](tags)])
    said = [parts["classifier"](joint), parts["quantity"](joint)]
    said += [parts["visual_head"](f_v), parts["visual_quantity"](f_v)]
    return keras.Model([*inputs, tags], parts["weighting"](layers.Concatenate(name="said")(said)))
