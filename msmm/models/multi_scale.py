"""Multi-scale fusion (eq. 2-3, Fig. 3-4): the five maps to the visual feature f_v."""

import keras
from keras import layers


def build_multi_scale(map_shapes, bn_momentum: float = 0.9997) -> keras.Model:
    """Builds the fusion of M_1 … M_5 into f_v [B, D], D the channels of M_5 (2,048 for ResNet-101).

    map_shapes: five (height, width, channels). Blocks by decision 13; 15,203,456 trainable
    parameters on ResNet-101.
    """
    maps = [keras.Input(tuple(shape), name=f"M{i}") for i, shape in enumerate(map_shapes, 1)]
    fused = maps[0]  # eq. 2: M̃_1 = M_1
    for scale, current in enumerate(maps[1:], 2):
        fused = layers.Add(name=f"fused{scale}")(
            [current, fusion_block(fused, current.shape[-1], f"fusion{scale}", bn_momentum)]
        )
    f_v = layers.GlobalAveragePooling2D(name="f_v")(fused)
    return keras.Model(maps, f_v, name="multi_scale")


def fusion_block(x, channels: int, name: str, bn_momentum: float):
    """F_l of eq. 3: a 3x3 that halves the map and keeps its channels, a 1x1 that widens to `channels`.

    γ starts at 1: with a ReLU after the normalisation, 0 would never leave 0 (decision 14).
    """
    for part, (width, kernel, stride) in enumerate([(x.shape[-1], 3, 2), (channels, 1, 1)], 1):
        x = layers.Conv2D(
            width,
            kernel,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_{part}_conv",
        )(x)
        x = layers.BatchNormalization(momentum=bn_momentum, name=f"{name}_{part}_bn")(x)
        x = layers.ReLU(name=f"{name}_{part}_relu")(x)
    return x
