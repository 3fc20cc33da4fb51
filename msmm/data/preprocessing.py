"""Encoded images to the pixels that a network reads; TensorFlow ops, usable eagerly and in tf.data."""

import tensorflow as tf

from msmm.core.resizing import DETAIL


def load(encoded, size: int):
    """Encoded JPEG (scalar string) -> RGB uint8 [size, size, 3], in a graph.

    No pixel is decoded in more detail than `DETAIL` asks for; otherwise as `resize(decode(encoded), size)`.
    """
    sides = tf.io.extract_jpeg_shape(encoded)[:2]

    # Not inlined: its many small ops would cost something even where they are passed over.
    @tf.function(experimental_attributes={"_noinline": True})
    def shrunk(encoded, sides):
        times = tf.reduce_min(sides) // (DETAIL * size)
        ratio = tf.reduce_sum(tf.cast(times >= [2, 4, 8], tf.int32))
        image = tf.switch_case(ratio, [lambda r=r: decode(encoded, r) for r in (1, 2, 4, 8)])
        return _resized(image, size)

    fits = tf.reduce_all(sides == size)
    loaded = tf.cond(fits, lambda: decode(encoded), lambda: shrunk(encoded, sides))
    return tf.ensure_shape(loaded, (size, size, 3))


def decode(encoded, ratio: int = 1):
    """Encoded JPEG (scalar string) -> RGB uint8 [H, W, 3], with the accurate inverse DCT.

    ratio: 1, 2, 4 or 8; the pixels are those of the image that many times smaller, sides rounded up.
    """
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE", ratio=ratio)


def resize(image, size: int):
    """RGB uint8 [H, W, 3] -> uint8 [size, size, 3].

    Bilinear with anti-aliasing; the aspect is not kept (decision 11).
    """
    if image.shape[0] == image.shape[1] == size:
        return image
    return _resized(tf.convert_to_tensor(image), size)


def _resized(image, size: int):
    """What tf.image.resize(antialias=True) gives, to the bit, in a third of the time.

    Its op walks along rows pixel by pixel, and across them a whole row at a time. So each direction is
    resized as rows of an image one pixel wide, whose channels are all that lies beside each other; one that
    fits is not resized at all.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    fit = tf.cond(height == size, lambda: tf.cast(image, tf.float32), lambda: _rows(image, size))
    fit = tf.cond(width == size, lambda: fit, lambda: _turned(_rows(_turned(fit), size)))
    return tf.cast(tf.round(fit), tf.uint8)  # weights are positive and add up to 1: none is over 255


def _turned(image):
    return tf.transpose(image, (1, 0, 2))


def _rows(image, size: int):
    """[H, W, C] -> float32 [size, W, C]."""
    height, width, channels = tf.unstack(tf.shape(image))
    resized = tf.raw_ops.ScaleAndTranslate(
        images=tf.reshape(image, (1, height, 1, width * channels)),
        size=(size, 1),
        scale=tf.stack([tf.constant(size, tf.float32) / tf.cast(height, tf.float32), 1.0]),
        translation=(0.0, 0.0),
        kernel_type="triangle",
        antialias=True,
    )
    return tf.reshape(resized, (size, width, channels))
