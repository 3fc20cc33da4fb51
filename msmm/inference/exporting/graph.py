"""Algorithm 2 as one TensorFlow graph, from which every export format is made."""

import functools

import keras
import tensorflow as tf

from msmm.core.errors import UserError
from msmm.data import preprocessing
from msmm.inference.exporting import counting
from msmm.inference.model import Model

PNG = b"\x89PNG"
SEPARATOR = ";"  # between the tags of one image


class Graph(tf.Module):
    """A model that chooses labels in the graph, by one of the counting rules of `counting.RULES`.

    `pixels` and `encoded` are TensorFlow functions, whose arguments and results keep their names in every
    format. See `Model.annotate`.
    """

    def __init__(self, model: Model, quantity: str = "regression"):
        super().__init__()
        self._count = [_bind_rule(model.counting_rules(quantity)[tagged]) for tagged in (True, False)]
        self._network = model.network
        # Listed for the savers: they look for variables in the attributes of a module.
        self._weights = [weight.value for weight in model.network.weights]  # without seeds of dropout
        self._size, self._labels = model.image_size, tf.constant(model.labels)
        self._num_tags = len(model.tags)
        words = tf.lookup.KeyValueTensorInitializer(  # with "", because a table must not be empty
            [*model.tags, ""], [*range(self._num_tags), -1], tf.string, tf.int64
        )
        self._tag_ids = tf.lookup.StaticHashTable(words, -1)
        image = tf.TensorSpec([None, self._size, self._size, 3], tf.float32, name="image")
        tags = tf.TensorSpec([None, self._num_tags], tf.float32, name="tags")
        self.pixels = tf.function(self._annotate_pixels, input_signature=[image, tags])
        strings = [tf.TensorSpec([None], tf.string, name=name) for name in ("image_bytes", "tags")]
        self.encoded = tf.function(self._annotate_encoded, input_signature=strings)

    def of_weights(self):
        """Returns `pixels` as a concrete function of image, tags and the weights, and the weights by name.

        The weights are arguments weight_0, weight_1 …: the graph holds none, so that it is written quickly.
        """
        weights = self._network.weights

        def annotate(image, tags, values):
            with keras.StatelessScope(list(zip(weights, values, strict=True))):
                return self._annotate_pixels(image, tags)

        specs = [tf.TensorSpec(w.shape, w.dtype, name=f"weight_{i}") for i, w in enumerate(weights)]
        function = tf.function(annotate).get_concrete_function(*self.pixels.input_signature, specs)
        return function, {s.name: keras.ops.convert_to_numpy(w) for s, w in zip(specs, weights, strict=True)}

    def _annotate_pixels(self, image, tags):
        """Annotates pixels.

        Args:
          image: RGB [B, S, S, 3] float32 in 0 … 255.
          tags: [B, T] float32 in {0, 1}.

        Returns:
          "chosen" bool [B, C]; "probabilities" [B, C] float32; "quantity" [B] float32, raw; "count" [B]
          int32, the number of chosen labels.
        """
        outputs = self._network({"image": image, "tags": tags}, training=False)
        probabilities, quantity = outputs["probabilities"], outputs["quantity"][:, 0]
        scores, count = self._count[0](probabilities, quantity)
        scores_without, count_without = self._count[1](probabilities, quantity)
        tagged = tf.reduce_sum(tags, axis=1) > 0
        count = tf.where(tagged, count, count_without)
        chosen = counting.choose_labels(tf.where(tagged[:, None], scores, scores_without), count)
        return {"chosen": chosen, "probabilities": probabilities, "quantity": quantity, "count": count}

    def _annotate_encoded(self, image_bytes, tags):
        """Annotates encoded images.

        Args:
          image_bytes: [B], the content of JPEG, PNG, GIF or BMP files; EXIF orientation is ignored.
          tags: [B] strings such as "beach;holiday"; tags outside the vocabulary are left out.

        Returns:
          As `_annotate_pixels`, with "labels" [B, largest count] strings, the most probable first and then
          "", instead of "chosen".
        """
        spec = tf.TensorSpec([self._size, self._size, 3], tf.uint8)
        images = tf.map_fn(self._square, image_bytes, fn_output_signature=spec)
        outputs = self._annotate_pixels(tf.cast(images, tf.float32), self._multi_hot(tags))
        chosen = tf.where(outputs.pop("chosen"), outputs["probabilities"], -1.0)
        most = tf.reduce_max(outputs["count"], axis=0)
        best = tf.argsort(chosen, direction="DESCENDING", stable=True)[:, :most]
        kept = tf.range(most)[None] < outputs["count"][:, None]
        return outputs | {"labels": tf.where(kept, tf.gather(self._labels, best), "")}

    def _square(self, encoded):
        """Decodes an image (scalar string) to uint8 [S, S, 3]; transparent parts become white."""
        image = tf.case(
            [
                (tf.io.is_jpeg(encoded), lambda: preprocessing.decode(encoded)),
                (tf.equal(tf.strings.substr(encoded, 0, len(PNG)), PNG), lambda: _png(encoded)),
            ],
            default=lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
        )
        return preprocessing.resize(tf.ensure_shape(image, [None, None, 3]), self._size)

    def _multi_hot(self, tags):
        """Converts strings [B] to float32 [B, T]."""
        words = tf.strings.strip(tf.strings.lower(tf.strings.split(tags, SEPARATOR), "utf-8"))
        ids = self._tag_ids.lookup(words).to_tensor(-1)
        return tf.reduce_max(tf.one_hot(ids, self._num_tags), axis=1)


def _bind_rule(rule):
    """Returns the function of `counting.RULES` with the fitted values of a counting rule."""
    if type(rule) not in counting.RULES:
        known = ", ".join(kind.title for kind in counting.RULES)
        raise UserError(f"an export can count by {known}, not by {rule.title}: name another --quantity")
    return functools.partial(counting.RULES[type(rule)], rule)


def _png(encoded):
    # Not channels=4: TensorFlow then makes palettes of fewer than 256 colours nearly transparent.
    image = tf.cast(tf.io.decode_png(encoded), tf.float32)  # [H, W, 1 … 4], the channels of the file
    channels = tf.shape(image)[2]
    has_opacity = 1 - channels % 2  # grey or RGB, and opacity
    colours = tf.broadcast_to(image[..., : channels - has_opacity], [*tf.unstack(tf.shape(image)[:2]), 3])
    opacity = tf.where(has_opacity > 0, image[..., -1:] / 255, 1)
    return tf.cast(tf.round(colours * opacity + 255 * (1 - opacity)), tf.uint8)
