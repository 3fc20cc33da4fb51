"""CSRA: Zhu, Wu, "Residual Attention: A Simple but Effective Method for Multi-Label Recognition" (ICCV 2021).

x_j is the map M_5 at place j, W a 1×1 convolution without bias, w_c its weights of class c:

    s_c(j) = w_c x_j / ‖w_c‖
    z_c = mean_j s_c(j) + λ Σ_j softmax_j(T s_c(j)) s_c(j),    for T = 99 the second sum is max_j s_c(j)

With H heads, each with a W and a temperature T of its own, the logits are added. H D C parameters: 165,888
for one head on ResNet-101's 2,048 channels and 81 classes. The source fine-tunes its trunk; here the trunk is
frozen, unless `csra_trunk` is trained.
"""

from keras import layers, ops

from msmm.baselines.map_head import MapHead

MAXIMUM = 99  # the temperature that stands for the maximum
TEMPERATURES = {
    1: (1,),
    2: (1, MAXIMUM),
    4: (1, 2, 4, MAXIMUM),
    6: (1, 2, 3, 4, 5, MAXIMUM),
    8: (1, 2, 3, 4, 5, 6, 7, MAXIMUM),
}


class Csra(MapHead):
    title = "CSRA"
    name = "csra"

    def logits(self, maps):
        temperatures = TEMPERATURES[self.settings.heads]
        attention = ResidualAttention(self.num_classes, temperatures, self.settings.weight, name="logits")
        return attention(maps)


class ResidualAttention(layers.Layer):
    """Class-specific residual attention: a map [B, h, w, D] -> logits [B, C].

    Args:
        num_classes: C.
        temperatures: T of each head.
        weight: λ.
    """

    def __init__(self, num_classes: int, temperatures, weight: float, **options):
        super().__init__(**options)
        self.num_classes, self.temperatures, self.weight = num_classes, temperatures, weight

    def build(self, input_shape):
        shape = (len(self.temperatures), input_shape[-1], self.num_classes)
        self.kernel = self.add_weight(shape, "glorot_uniform", name="kernel")

    def call(self, x):
        _, height, width, channels = x.shape
        x = ops.reshape(x, (-1, height * width, channels))
        directions = self.kernel / ops.sqrt(ops.sum(ops.square(self.kernel), axis=1, keepdims=True))
        logits = 0
        for head, temperature in enumerate(self.temperatures):
            scores = x @ directions[head]  # [B, places, C]
            if temperature == MAXIMUM:
                attention = ops.max(scores, axis=1)
            else:
                attention = ops.sum(ops.softmax(temperature * scores, axis=1) * scores, axis=1)
            logits = logits + ops.mean(scores, axis=1) + self.weight * attention
        return logits
