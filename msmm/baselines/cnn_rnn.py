"""CNN-RNN: Wang, Yang, Mao et al., "CNN-RNN: A Unified Framework for Multi-label Image Classification".

An LSTM that does not see the image emits labels, the most frequent first; its output and the image's
projection are added at every step, in the space of the label embeddings:

    o(t), r(t) = LSTM(r(t-1), U_l l_{t-1}), with ReLU for tanh,    r(0) = 0
    x_t = ReLU(U_o o(t) + U_I f + b),    s(t) = U_lᵀ x_t over C classes and END,    p = softmax(s)
    L = mean over an image's n + 1 steps of -log p(l_t)

One matrix U_l reads and scores labels. Its sizes (64; 512 units), RMSProp at 1e-4 with momentum 0.9, weight
decay 1e-4 and dropout 0.5 are from memory, not from a text that could be read. Decided: h(·) = ReLU with a
bias, dropout on x_t, and the decay as L2 on the LSTM's and the projections' kernels. Gradients are clipped at
a global norm of 5, as a ReLU LSTM is not bounded. The search has 5 paths, and START is the first input.

Length: on NUS-WIDE its source emits exactly k labels, which is the default here. END plays no part then. The
classes that were not emitted rank after the k, so other numbers of labels can be kept. On MSCOCO it stops at
END (`cnn_rnn_free_length`): the published I-P/I-R of that row gives 2.8 labels per image where 2.92 are true,
so the paper's "quantity prediction: no" is wrong there. The row on NUS-WIDE was measured on another test set
than the paper's own (2.42 labels an image, not 2.55), and with VGG-16. The paper's section II-C exchanges the
orders of CNN-RNN and RIA; the source says "more frequent labels appear earlier". Public code under its name
consists of captioning decoders that feed the image as a first word.

1,350,912 parameters for f of 2,048 numbers and 81 classes.
"""

import keras
from keras import ops

from msmm.baselines.label_decoder import LabelDecoder, Lstm
from msmm.baselines.sequences import CLIP, Recurrent
from msmm.models import optimizers

EMBEDDING, UNITS = 64, 512
L2 = 1e-4


class CnnRnn(Recurrent):
    title = "CNN-RNN [27]"
    predicts_quantity = False  # unless cnn_rnn_free_length

    def __init__(self, config, *given):
        settings = config.cnn_rnn
        exact = None if settings.free_length else config.k
        super().__init__(config, *given, order=settings.order, beam=settings.beam, exact=exact)

    def build_decoder(self):
        return _Fusion(self.num_classes, name="decoder")

    def optimizer(self, learning_rate, steps):
        rate = optimizers.schedule(learning_rate, steps)
        return keras.optimizers.RMSprop(rate, momentum=0.9, global_clipnorm=CLIP)


class _Fusion(LabelDecoder):
    def __init__(self, num_classes: int, **options):
        super().__init__(num_classes, EMBEDDING, Lstm(UNITS, "relu", L2 / 2, name="lstm"), **options)
        decay = {"kernel_regularizer": keras.regularizers.L2(L2 / 2)}
        self.output_projection = keras.layers.Dense(EMBEDDING, use_bias=False, name="output", **decay)
        self.image_projection = keras.layers.Dense(EMBEDDING, name="image", **decay)
        self.dropout = keras.layers.Dropout(0.5, name="dropout")

    def start(self, features):
        image = self.image_projection(features)
        zeros = ops.zeros((ops.shape(features)[0], UNITS), image.dtype)
        return [zeros, zeros, image]

    def advance(self, gates, states):
        *states, image = states
        states = self.cell.step(gates, states)
        return self.output_projection(states[0]) + image, [*states, image]

    def score(self, outputs):
        words = self.embedding.embeddings[: self.num_classes + 1]
        return ops.matmul(self.dropout(ops.relu(outputs)), ops.transpose(words))
