"""The heads (section III-C): the label classifier and the quantity regressor."""

import keras
import numpy as np
from keras import layers

_LEAST = 0.5  # images with and images without a class, that are counted beside the true ones


def build_classifier(
    feature_size: int, num_classes: int, name: str = "classifier", bias: np.ndarray | None = None
) -> keras.Model:
    """Builds feature [B, D] -> logits [B, C]; σ of them are the probabilities p.

    331,857 parameters for D = 4,096 ([f_v, f_t]) and C = 81. The heads of single
    branches have the same form on their own feature (decision 16).

    Args:
        feature_size: D.
        num_classes: C.
        name: of the model.
        bias: where the biases start, [C]; None: at 0.
    """
    feature = keras.Input((feature_size,), name="feature")
    start = "zeros" if bias is None else start_at(bias)
    logits = layers.Dense(num_classes, bias_initializer=start, name="logits")(feature)
    return keras.Model(feature, logits, name=name)


def build_quantity(feature_size: int, mean_count: float = 0.0, name: str = "quantity") -> keras.Model:
    """Builds feature [B, D] -> raw label quantity [B, 1], linear, in labels (decision 20).

    Hidden layers of 512 and 256 units, dropout 0.5 after each. The output starts at
    `mean_count`, the training images' mean. 2,229,249 parameters for D = 4,096.
    """
    feature = keras.Input((feature_size,), name="feature")
    x = feature
    for i, units in enumerate((512, 256), 1):
        x = layers.Dense(units, activation="relu", name=f"quantity_hidden{i}")(x)
        x = layers.Dropout(0.5, name=f"quantity_dropout{i}")(x)
    bias = keras.initializers.Constant(mean_count)
    return keras.Model(feature, layers.Dense(1, bias_initializer=bias, name="quantity")(x), name=name)


def label_rates(labels: np.ndarray) -> np.ndarray:
    """Returns the frequency of each class in labels [N, C], float64 [C], smoothed so that none is 0 or 1."""
    return (labels.sum(axis=0, dtype=np.float64) + _LEAST) / (len(labels) + 2 * _LEAST)


def log_odds(labels: np.ndarray) -> np.ndarray:
    """Returns log(q / (1 - q)) of each class's frequency q in labels [N, C], float64 [C]."""
    rates = label_rates(labels)
    return np.log(rates) - np.log1p(-rates)


def start_at(values: np.ndarray):
    """Returns an initialiser that gives a variable these values."""
    return lambda shape, dtype=None: keras.ops.convert_to_tensor(np.reshape(values, shape), dtype)
