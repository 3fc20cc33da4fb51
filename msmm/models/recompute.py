"""Gradients through a network in less memory: what its layers say is computed again instead of kept.

Gradient checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost"): the network is cut
into segments. The forward pass keeps only what goes from one to the next, and the backward pass computes each
segment once more. Gradients and batch statistics are those of the network as it is.
"""

import keras

_LAYERS = 6  # of a segment, at least: a ResNet's layers before its first block; a block has ten


def recomputed(backbone: keras.Model) -> keras.Model:
    """The same backbone, on the same layers, which computes its maps again for the gradients."""

    def in_segments(layer):
        return Segments(layer) if layer.name == "maps" else layer

    return keras.models.clone_model(backbone, clone_function=in_segments)


class Segments(keras.layers.Layer):
    """A functional model of inputs and outputs [B, …], on the same layers, segment by segment."""

    def __init__(self, model: keras.Model):
        super().__init__(name=f"{model.name}_in_segments", autocast=False)  # its layers cast what they read
        self.segments, self._reads, self._places = _segments(model)

    def call(self, inputs, training=None, mask=None):  # a nested model is called with a mask, of nothing here
        again = training and keras.backend.backend() == "tensorflow"
        given, said = keras.tree.flatten(inputs), []
        left = []  # by the segment before
        for segment, reads in zip(self.segments, self._reads, strict=True):
            x = [*left, *(given[place] for place in reads)]
            outputs = _recomputing(segment)(*x) if again else segment(x, training=training)
            outputs = keras.tree.flatten(outputs)
            left = outputs[:1]
            said += outputs
        found = [said[place] for place in self._places]
        return found if len(found) > 1 else found[0]


def _segments(model: keras.Model) -> tuple[list[keras.Model], list[list[int]], list[int]]:
    """Models that follow one another, each of which reads what the one before says first, and some of
    `model.inputs`; it says first what the next reads, and then what it has computed of `model.outputs`. Then
    which inputs each reads, and where in all that they say the outputs are."""
    operations = [o for o in model.operations if not isinstance(o, keras.layers.InputLayer)]
    last_use = {id(t): n for n, o in enumerate(operations) for t in keras.tree.flatten(o.input)}
    given, wanted = [[id(t) for t in tensors] for tensors in (model.inputs, model.outputs)]
    segments, reads, said, first = [], [], [], 0
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
            said += map(id, outputs)
            entry, read, own, first = [leaving], [], [], n
    return segments, reads, [said.index(output) for output in wanted]


def _recomputing(segment: keras.Model):
    """A segment in training, of which the gradients keep nothing but what it reads."""
    seeds = [v for v in segment.variables if not any(v is weight for weight in segment.weights)]
    before = []

    def said(*x):
        if not before:
            before.append([(seed, keras.ops.copy(seed)) for seed in seeds])
            return segment(list(x), training=True)
        # The same random numbers again; batch statistics have been averaged in already.
        with keras.StatelessScope(before[0]):
            return segment(list(x), training=True)

    return keras.remat(said)
