"""The heads (section III-C): the label classifier and the quantity regressor."""

import keras
from keras import layers


def build_classifier(feature_size: int, num_classes: int, name: str = "classifier") -> keras.Model:
    """Builds feature [B, D] -> logits [B, C]; σ of them are the probabilities p.

    331,857 parameters for D = 4,096 ([f_v, f_t]) and C = 81. The heads of single
    branches have the same form on their own feature (decision 16).
    """
    feature = keras.Input((feature_size,), name="feature")
    return keras.Model(feature, layers.Dense(num_classes, name="logits")(feature), name=name)


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
