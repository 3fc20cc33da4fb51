"""The textual MLP (section III-B): noisy tags to the textual feature f_t (or groups to f_g)."""

import keras
from keras import layers


def build_textual(
    num_tags: int, units: int = 2048, dropout: float = 0.0, name: str = "textual"
) -> keras.Model:
    """Builds tags [B, T] in {0, 1} -> f_t [B, units]: two hidden ReLU layers, f_t the second (decision 18).

    6,246,400 parameters for T = 1,000 and 2,048 units. T may be 0: then f_t does not depend on the image.
    """
    tags = keras.Input((num_tags,), name="tags")
    # Without tags, one constant 0: an empty matrix product makes oneDNN abort the process.
    x = tags if num_tags else keras.ops.pad(tags, ((0, 0), (0, 1)))
    x = layers.Dense(units, activation="relu", name="textual_hidden")(x)
    if dropout:
        x = layers.Dropout(dropout, name="textual_dropout")(x)
    f_t = layers.Dense(units, activation="relu", name="f_t")(x)
    return keras.Model(tags, f_t, name=name)
