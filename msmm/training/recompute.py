"""Gradient checkpointing: activations are recomputed for the gradients instead of kept.

See Chen et al. 2016, "Training deep nets with sublinear memory cost". The network is cut into segments. The
forward pass keeps only the tensors between segments, and the backward pass computes each segment once more.
Gradients and batch statistics equal the gradients and statistics of the unchanged network.
"""

import keras

from msmm.training.fast_layers import accelerated

_LAYERS = 6  # per segment, at least: a ResNet has six before its first block; a block has ten


def recomputed(backbone: keras.Model) -> keras.Model:
    """Returns the same backbone, on the same layers, with gradient checkpointing of its maps."""

    def in_segments(layer):
        return Segments(layer) if layer.name == "maps" else layer

    return keras.models.clone_model(backbone, clone_function=in_segments)


class Segments(keras.layers.Layer):
    """A functional model with inputs and outputs [B, …], run segment by segment.

    On the same variables, with the faster layers of `accelerated`. The layers must be part of no other model.
    """

    def __init__(self, model: keras.Model):
        super().__init__(name=f"{model.name}_in_segments", autocast=False)  # its layers cast their inputs
        segments, self._reads, self._places = _cut_into_segments(model)
        self.segments = [accelerated(segment) for segment in segments]

    def call(self, inputs, training=None, mask=None):  # a nested model is called with a mask
        recompute = training and keras.backend.backend() == "tensorflow"
        given, computed = keras.tree.flatten(inputs), []
        carried = []  # from the segment before
        for segment, reads in zip(self.segments, self._reads, strict=True):
            x = [*carried, *(given[place] for place in reads)]
            outputs = _checkpoint(segment)(*x) if recompute else segment(x, training=training)
            outputs = keras.tree.flatten(outputs)
            carried = outputs[:1]
            computed += outputs
        results = [computed[place] for place in self._places]
        return results if len(results) > 1 else results[0]


def _cut_into_segments(model: keras.Model) -> tuple[list[keras.Model], list[list[int]], list[int]]:
    """Cuts a model into consecutive models.

    Each segment reads the first output of the segment before and some of `model.inputs`. Its first output is
    what the next segment reads; then follow the outputs of the model that it has computed.

    Returns:
        The segments, the indices of `model.inputs` that each reads, and the places of `model.outputs` among
        the outputs of all segments.
    """
    operations = [o for o in model.operations if not isinstance(o, keras.layers.InputLayer)]
    last_use = {id(t): n for n, o in enumerate(operations) for t in keras.tree.flatten(o.input)}
    given, wanted = [[id(t) for t in tensors] for tensors in (model.inputs, model.outputs)]
    segments, reads, produced, first = [], [], [], 0
    entry, unread, read, own = [], [], [], []
    for n, operation in enumerate(operations, 1):
        read += [id(t) for t in keras.tree.flatten(operation.input) if id(t) in given and id(t) not in read]
        computed = keras.tree.flatten(operation.output)
        own += [t for t in computed if id(t) in wanted]
        unread = [t for t in unread + computed if last_use.get(id(t), -1) >= n]
        if n == len(operations) or (len(unread) == 1 and n - first >= _LAYERS):
            leaving = (unread or computed)[0]
            outputs = [leaving, *(t for t in own if t is not leaving)]
            reads.append([given.index(t) for t in read])
            segments.append(keras.Model([*entry, *(model.inputs[place] for place in reads[-1])], outputs))
            produced += map(id, outputs)
            entry, read, own, first = [leaving], [], [], n
    return segments, reads, [produced.index(output) for output in wanted]


def _checkpoint(segment: keras.Model):
    """Returns a function that runs a segment in training and keeps only its inputs for the gradients."""
    seeds = [v for v in segment.variables if not any(v is weight for weight in segment.weights)]
    before = []

    def run_segment(*x):
        if not before:
            before.append([(seed, keras.ops.copy(seed)) for seed in seeds])
            return segment(list(x), training=True)
        # The same random numbers again; the moving averages already contain this batch.
        with keras.StatelessScope(before[0]):
            return segment(list(x), training=True)

    return keras.remat(run_segment)
