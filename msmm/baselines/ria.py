"""RIA: Jin, Nakayama, "Annotation Order Matters: Recurrent Image Annotator for Arbitrary Length Image
Tagging".

The image is the initial state of an LSTM, which then emits the labels, the rarest first, until END:

    h_0 = W_I f + b_I,  c_0 = 0,    x_t = E l_{t-1},    h_t, c_t = LSTM(x_t, h_{t-1}, c_{t-1})
    s(t) = W_2 dropout(ReLU(W_1 h_t + b_1)) + b_2 over C classes and END,    p = softmax(s)
    L = mean over an image's n + 1 steps of -log p(l_t)

Sizes (1,024 everywhere), the linear h_0, forget biases of 1, dropout 0.5, Adam and greedy decoding are those
of its author's code. Decided: START and END are two ids (in the author's code one, 0, which is equivalent);
batches of 128 instead of one image; gradients clipped at a global norm of 5; no class twice; at most as many
labels as a training image has (in the author's code 20). `ria_beam` searches wider.

The published rows use features of a VGG-16 trained elsewhere; here features come from the
trunk of stage finetune, as for all recurrent methods. The paper's section II-C says "rare-first [27] or
frequent-first [26]" of CNN-RNN and RIA; by their own sources it is the other way round.

11,709,522 parameters for f of 2,048 numbers and 81 classes.
"""

import keras
from keras import ops

from msmm.baselines.label_decoder import LabelDecoder, Lstm
from msmm.baselines.sequences import CLIP, Recurrent
from msmm.models import optimizers

UNITS = 1024


class Ria(Recurrent):
    title = "RIA [26]"

    def __init__(self, config, *given):
        super().__init__(config, *given, order=config.ria.order, beam=config.ria.beam)

    def build_decoder(self):
        return _Annotator(self.num_classes, name="decoder")

    def optimizer(self, learning_rate, steps):
        return keras.optimizers.Adam(optimizers.schedule(learning_rate, steps), global_clipnorm=CLIP)


class _Annotator(LabelDecoder):
    def __init__(self, num_classes: int, **options):
        super().__init__(num_classes, UNITS, Lstm(UNITS, name="lstm"), **options)
        self.image = keras.layers.Dense(UNITS, name="image")
        self.hidden = keras.layers.Dense(UNITS, activation="relu", name="hidden")
        self.dropout = keras.layers.Dropout(0.5, name="dropout")
        self.logits = keras.layers.Dense(num_classes + 1, name="logits")

    def start(self, features):
        state = self.image(features)
        return [state, ops.zeros_like(state)]

    def advance(self, gates, states):
        states = self.cell.step(gates, states)
        return states[0], states

    def score(self, outputs):
        return self.logits(self.dropout(self.hidden(outputs)))
