"""Gradients through a backbone in less memory: what its layers say is computed again instead of kept.

Gradient checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost"): the network is cut
into segments. The forward pass keeps only what goes from one to the next, and the backward pass computes each
segment once more. Gradients and batch statistics are those of the network as it is.
"""

import keras

_LAYERS = 8  # of a segment, at least; a block of a ResNet has ten


def recomputed(backbone: keras.Model) -> keras.Model:
    """The same backbone, on the same layers, which computes its maps again for the gradients."""

    def in_segments(layer):
        return Segments(layer) if layer.name == "maps" else layer

    return keras.models.clone_model(backbone, clone_function=in_segments)


class Segments(keras.layers.Layer):
    """A functional model of one input [B, …] and several outputs, segment by segment."""

    def __init__(self, model: keras.Model):
        super().__init__(name=f"{model.name}_in_segments")
        self.segments, self._places = _segments(model)

    def call(self, x, training=None, mask=None):  # a nested model is called with a mask, of nothing here
        again = training and keras.backend.backend() == "tensorflow"
        said = []
        for segment in self.segments:
            outputs = _recomputing(segment)(x) if again else segment(x, training=training)
            outputs = keras.tree.flatten(outputs)
            x = outputs[0]
            said += outputs
        return [said[place] for place in self._places]


def _segments(model: keras.Model) -> tuple[list[keras.Model], list[int]]:
    """Models that follow one another, each of which says first what the next reads, and then what it has
    computed of `model.outputs`; and where in all that they say those are."""
    operations = [o for o in model.operations if not isinstance(o, keras.layers.InputLayer)]
    last_use = {id(t): n for n, o in enumerate(operations) for t in keras.tree.flatten(o.input)}
    wanted = [id(output) for output in model.outputs]
    segments, said, own, first, entry = [], [], [], 0, model.inputs[0]
    unread = [entry]
    for n, operation in enumerate(operations, 1):
        computed = keras.tree.flatten(operation.output)
        own += [t for t in computed if id(t) in wanted]
        unread = [t for t in unread + computed if last_use.get(id(t), -1) >= n]
        if n == len(operations) or (len(unread) == 1 and n - first >= _LAYERS):
            leaving = (unread or computed)[0]
            outputs = [leaving, *(t for t in own if t is not leaving)]
            segments.append(keras.Model(entry, outputs))
            said += map(id, outputs)
            own, first, entry = [], n, leaving
    return segments, [said.index(output) for output in wanted]


def _recomputing(segment: keras.Model):
    """A segment in training, of which the gradients keep nothing but what it reads."""
    seeds = [v for v in segment.variables if not any(v is weight for weight in segment.weights)]
    before = []

    def said(x):
        if not before:
            before.append([(seed, keras.ops.copy(seed)) for seed in seeds])
            return segment(x, training=True)
        # The same random numbers again; batch statistics have been averaged in already.
        with keras.StatelessScope(before[0]):
            return segment(x, training=True)

    return keras.remat(said)
