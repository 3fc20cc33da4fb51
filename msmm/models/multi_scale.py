"""Multi-scale fusion (eq. 2-3, Fig. 3-4): the five maps to the visual feature f_v; and its controls."""

import math
from collections.abc import Callable

import keras
from keras import layers


def build_multi_scale(map_shapes, bn_momentum: float = 0.9997) -> keras.Model:
    """Builds the fusion of M_1 … M_5 into f_v [B, D], D the channels of M_5 (2,048 for ResNet-101).

    map_shapes: five (height, width, channels). Blocks by decision 13; 15,203,456 trainable
    parameters on ResNet-101. Given M_4 and M_5 alone (a transformer's), M_1 … M_3 are made from M_4.
    """
    inputs = _inputs(map_shapes)
    maps = _simple_pyramid(inputs[-2]) + inputs if len(inputs) == 2 else inputs
    fused = maps[0]  # eq. 2: M̃_1 = M_1
    for scale, current in enumerate(maps[1:], 2):
        fused = layers.Add(name=f"fused{scale}")(
            [current, fusion_block(fused, current.shape[-1], f"fusion{scale}", bn_momentum)]
        )
    f_v = layers.GlobalAveragePooling2D(name="f_v")(fused)
    return keras.Model(inputs, f_v, name="multi_scale")


def _inputs(map_shapes) -> list:
    first = 6 - len(map_shapes)
    return [keras.Input(tuple(shape), name=f"M{i}") for i, shape in enumerate(map_shapes, first)]


def _simple_pyramid(m4) -> list:
    """Builds M_1 … M_3 from M_4 [B, h, w, D], the simple pyramid of ViTDet (Li et al. 2022, section 3).

    Each is enlarged by transposed convolutions of its own: stride 2, kernel 2, D/2, D/4 and D/8 channels,
    with layer normalisation and GELU between two of them. ViTDet ends at D/4; M_1 continues its rule.
    """
    maps = []
    for scale in (1, 2, 3):
        x = m4
        for step in range(1, 5 - scale):
            if step > 1:
                x = layers.LayerNormalization(epsilon=1e-6, name=f"pyramid{scale}_{step - 1}_norm")(x)
                x = layers.Activation("gelu", name=f"pyramid{scale}_{step - 1}_gelu")(x)
            name = f"M{scale}" if step == 4 - scale else f"pyramid{scale}_{step}"
            x = layers.Conv2DTranspose(max(1, m4.shape[-1] // 2**step), 2, strides=2, name=name)(x)
        maps.append(x)
    return maps


def fusion_block(x, channels: int, name: str, bn_momentum: float):
    """Builds F_l of eq. 3: a 3x3 that halves the map and keeps its channels, a 1x1 that widens to `channels`.

    γ starts at 1: with a ReLU after the normalisation, 0 would never leave 0 (decision 14).
    """
    for part, (width, kernel, stride) in enumerate([(x.shape[-1], 3, 2), (channels, 1, 1)], 1):
        x = _conv_bn_relu(x, width, kernel, stride, f"{name}_{part}", bn_momentum)
    return x


def _conv_bn_relu(x, channels: int, kernel: int, stride: int, name: str, bn_momentum: float):
    x = layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(momentum=bn_momentum, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def build_last_map(map_shapes, bn_momentum: float = 0.9997) -> keras.Model:
    """Builds a control: about as many parameters as the fusion blocks, but M_5 is all that they read.

    A block 1x1 – 3x3 – 1x1 on M_5, with batch normalisation and ReLU as in eq. 3, is added to M_5. Its width
    is the one whose parameters are nearest to those of `build_multi_scale`.
    """
    maps = _inputs(map_shapes)
    channels = maps[-1].shape[-1]
    x = maps[-1]
    width = _equal_width(build_multi_scale(map_shapes).count_params(), channels)
    for part, (units, kernel) in enumerate([(width, 1), (width, 3), (channels, 1)], 1):
        x = _conv_bn_relu(x, units, kernel, 1, f"last_map_{part}", bn_momentum)
    f_v = layers.GlobalAveragePooling2D(name="f_v")(layers.Add(name="fused5")([maps[-1], x]))
    return keras.Model(maps, f_v, name="multi_scale")


def _equal_width(parameters: int, channels: int) -> int:
    """Returns the width w of `build_last_map` with the given number of parameters, rounded.

    9 w² + 2 w D of the kernels and 4 (2 w + D) of batch normalisation.
    """
    linear = 2 * channels + 8
    return max(1, round((math.sqrt(linear**2 + 36 * (parameters - 4 * channels)) - linear) / 18))


def build_pooled(map_shapes, bn_momentum: float = 0.9997) -> keras.Model:
    """Builds a control without parameters: the averages of the backbone's maps, concatenated."""
    maps = _inputs(map_shapes)
    pooled = [layers.GlobalAveragePooling2D(name=f"pooled{i}")(m) for i, m in enumerate(maps, 6 - len(maps))]
    return keras.Model(maps, layers.Concatenate(name="f_v")(pooled), name="multi_scale")


# The values of the setting `visual_fusion`.
FUSIONS: dict[str, Callable[..., keras.Model]] = {
    "multi_scale": build_multi_scale,
    "last_map": build_last_map,
    "pooled": build_pooled,
}


def feature_size(map_shapes, fusion: str) -> int:
    """Returns D, the size of f_v."""
    return sum(shape[-1] for shape in map_shapes) if fusion == "pooled" else map_shapes[-1][-1]
