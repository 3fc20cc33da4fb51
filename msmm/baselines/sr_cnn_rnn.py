"""SR-CNN-RNN: Liu, Xiang, Hospedales, Yang, Sun, "Semantic Regularisation for Recurrent Image Annotation".

Between the image and the LSTM are concepts s, which have a loss of their own; the LSTM sees nothing else:

    s = [σ(W_s f + b_s); t'],    h_0 = tanh(W_h s + b_h),  c_0 = tanh(W_c s + b_c)
    h_t, c_t = LSTM(E l_{t-1}, h_{t-1}, c_{t-1}),    p = softmax(W_o h_t + b_o) over C classes and END
    L = L_u + L_r,    L_u = Σ_c BCE(y_c, σ(W_s f)_c),    L_r = mean over an image's n + 1 steps of -log p(l_t)

Labels are emitted the rarest first, until END; decoding is greedy (`sr_cnn_rnn_beam` searches wider). For two
epochs the LSTM gets the true y in place of σ(W_s f), as in its source, while W_s learns by L_u; then
everything is trained together, with the gradient of L_r through s. (With the true y the LSTM only learns to
sort: two epochs are enough.) Both losses weigh the same; sizes 256 and 512; Adam, gradients
clipped at a global norm of 5.

t' are the "true tags" of the paper's section II-B, whose filter is not stated. Here a tag is true if the
image shows it, by two conditions. It is given 50 times or more in training (or in 1 % of the images of a set
under 5,000). A ridge regression from f, fitted on half of the training images, predicts it on the other half.
Its area under the ROC curve is 0.7 or more. Without tags (`sr_cnn_rnn_tags=false`) s = σ(W_s f + b_s). The
published row on NUS-WIDE (H-F1 far above what later papers report for images alone) must have used tags at
test time; the one on MSCOCO probably did not, whatever its column says. Its I-P of 77.41 is the same in both
tables. Its network was Inception-v3, fine-tuned with the rest; here f is fixed.

1,722,194 parameters for 81 classes and 81 concepts, beside W_s.
"""

import hashlib

import keras
import numpy as np
from keras import ops

from msmm.baselines.label_decoder import LabelDecoder, Lstm
from msmm.baselines.sequences import CLIP, Recurrent, cross_entropy
from msmm.models import losses, optimizers

EMBEDDING, UNITS = 256, 512
TRUE_EPOCHS = 2  # in which the LSTM gets the true labels
OCCURRENCES, SHARE, AREA = 50, 0.01, 0.7
RIDGE = 1e-2  # times the features' mean square
_TAGS = 512  # predicted at a time


class SrCnnRnn(Recurrent):
    title = "SR-CNN-RNN [24]"
    multi_modal = True  # unless not sr_cnn_rnn_tags

    def __init__(self, config, *given):
        super().__init__(config, *given, order="rare_first", beam=config.sr_cnn_rnn.beam)
        self.multi_modal = config.sr_cnn_rnn.tags
        self.true_tags = self._true_tags() if self.multi_modal else np.zeros(0, int)

    def build_decoder(self):
        return _Interface(self.num_classes, self.feature_size, name="decoder")

    def build(self):
        features = keras.Input((self.feature_size + len(self.true_tags),), name="feature_and_tags")
        given = keras.Input((self.num_classes,), name="given")
        tokens = keras.Input((self.longest + 1,), dtype="int32", name="tokens")
        return keras.Model([features, given, tokens], self.build_decoder()(features, given, tokens))

    def optimizer(self, learning_rate, steps):
        return keras.optimizers.Adam(optimizers.schedule(learning_rate, steps), global_clipnorm=CLIP)

    def decoder_features(self, split, rows):
        tags = self.splits[split].tags[rows][:, self.true_tags]
        return np.concatenate([self.features(split)[rows], tags], axis=1, dtype=np.float32)

    def inputs(self, rows, epoch, rng):
        """Returns features, the labels in place of σ(W_s f) (-1: none), and tokens."""
        labels = self.splits["train"].labels[rows].astype(np.float32)
        given = labels if epoch is not None and epoch < TRUE_EPOCHS else np.full_like(labels, -1)
        return [self.decoder_features("train", rows), given, self.sequences(rows)[0]]

    def targets(self, rows, rng):
        """Returns the labels, then the target ids: int32 [B, C + S]."""
        return np.concatenate([self.splits["train"].labels[rows], self.sequences(rows)[1]], axis=1)

    def loss(self, targets, outputs):
        classes = self.num_classes
        logits = ops.reshape(outputs[:, classes:], (-1, self.longest + 1, classes + 1))
        unary = losses.sigmoid_cross_entropy(targets[:, :classes], outputs[:, :classes])
        return unary + cross_entropy(targets[:, classes:], logits)

    def _true_tags(self) -> np.ndarray:
        """Returns the ids of t', int64 [T'], cached on disk."""
        tags, features = self.train_tags, self.features("train")[self.train_rows]
        if not tags.size:
            return np.zeros(0, np.int64)
        digest = hashlib.sha256(np.ascontiguousarray(tags).data)
        digest.update(np.ascontiguousarray(features).data)
        key = {
            "features and tags": digest.hexdigest(),
            "rule": [OCCURRENCES, SHARE, AREA, RIDGE, "all frequent of constant features"],
        }
        mask = self.cache("true-tags", key, 1, lambda: [[find_true_tags(features, tags)[None]]], bool)
        return np.flatnonzero(mask[0][0])


class _Interface(LabelDecoder):
    def __init__(self, num_classes: int, feature_size: int, **options):
        super().__init__(num_classes, EMBEDDING, Lstm(UNITS, name="lstm"), **options)
        self.feature_size = feature_size
        self.concepts = keras.layers.Dense(num_classes, name="concepts")
        self.hidden = keras.layers.Dense(UNITS, activation="tanh", name="hidden")
        self.memory = keras.layers.Dense(UNITS, activation="tanh", name="memory")
        self.logits = keras.layers.Dense(num_classes + 1, name="logits")

    def call(self, features, given, tokens):
        """Returns the logits of the concepts, then of every step: [B, C + S (C + 1)]."""
        concepts = self.concepts(features[:, : self.feature_size])
        states = self._states(features, ops.where(given < 0, ops.sigmoid(concepts), given))
        steps = self.unroll(states, tokens)
        return ops.concatenate([concepts, ops.reshape(steps, (-1, steps.shape[1] * steps.shape[2]))], axis=1)

    def start(self, features):
        return self._states(features, ops.sigmoid(self.concepts(features[:, : self.feature_size])))

    def _states(self, features, concepts):
        interface = ops.concatenate([concepts, features[:, self.feature_size :]], axis=1)
        return [self.hidden(interface), self.memory(interface)]

    def advance(self, gates, states):
        states = self.cell.step(gates, states)
        return states[0], states

    def score(self, outputs):
        return self.logits(outputs)


def find_true_tags(features: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Returns a mask of the frequent tags that the training images' features predict, bool [T].

    Constant features, those of a data set with tags alone, predict nothing: every frequent tag stays.

    features: float32 [N, D]; tags: bool [N, T].
    """
    frequent = tags.sum(axis=0) >= min(OCCURRENCES, SHARE * len(tags))
    if (features.min(axis=0) == features.max(axis=0)).all():
        return frequent
    mixed = np.random.default_rng(0).permutation(len(tags))
    fitted, scored = mixed[: len(tags) // 2], mixed[len(tags) // 2 :]
    mean = features[fitted].mean(axis=0)
    x, others = features[fitted] - mean, features[scored] - mean
    gram = x.T @ x
    ridge = RIDGE * np.trace(gram) / len(gram) + np.finfo(np.float32).tiny
    found, ids = np.zeros(tags.shape[1], bool), np.flatnonzero(frequent)
    for start in range(0, len(ids), _TAGS):  # few of thousands of tags are frequent
        some = ids[start : start + _TAGS]
        present = tags[np.ix_(fitted, some)]
        weights = np.linalg.solve(gram + ridge * np.eye(len(gram)), x.T @ (present - present.mean(axis=0)))
        areas = map(roc_area, (others @ weights).T, tags[np.ix_(scored, some)].T)
        found[some] = [area >= AREA for area in areas]
    return found


def roc_area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Returns the area under the ROC curve of scores [N] for positive [N] bool; 0 if one class is missing."""
    others = np.sort(scores[~positive])
    if not others.size or len(others) == len(scores):
        return 0.0
    sides = [np.searchsorted(others, scores[positive], side) for side in ("left", "right")]
    return float(np.mean(sides)) / len(others)
