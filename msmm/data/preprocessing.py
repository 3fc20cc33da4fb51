"""TensorFlow ops from encoded images to the pixels that a network reads, usable eagerly and in tf.data."""

import tensorflow as tf

from msmm.core.resizing import DETAIL


def load(encoded, size: int):
    """Decodes a JPEG (scalar string) to RGB uint8 [size, size, 3], in a graph.

    A JPEG is read at a half, a quarter or an eighth of its size if both sides keep `DETAIL` times the wanted
    size. Otherwise the result is `resize(decode(encoded), size)`.
    """
    sides = tf.io.extract_jpeg_shape(encoded)[:2]

    # Not inlined: its many small ops would take time even where they are not executed.
    @tf.function(experimental_attributes={"_noinline": True})
    def shrunk(encoded, sides):
        return _resized(_decode_shrunk(encoded, sides, size), size)

    fits = tf.reduce_all(sides == size)
    loaded = tf.cond(fits, lambda: decode(encoded), lambda: shrunk(encoded, sides))
    return tf.ensure_shape(loaded, (size, size, 3))


def load_region(encoded, box, size: int):
    """Decodes a region of a JPEG (scalar string) to RGB uint8 [size, size, 3], in a graph.

    Args:
        encoded: the JPEG. It is read at a fraction of its size as in `load`.
        box: float32 [4], top, left, height and width of the region as shares of the image.
        size: in pixels.
    """
    region = tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.float32) * box[2:]
    image = _decode_shrunk(encoded, region, size)
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    extent = tf.maximum(tf.cast(tf.round(box[2:] * sides), tf.int32), 1)
    begin = tf.minimum(tf.cast(tf.round(box[:2] * sides), tf.int32), tf.shape(image)[:2] - extent)
    region = tf.slice(image, tf.concat([begin, [0]], 0), tf.concat([extent, [3]], 0))
    return tf.ensure_shape(_resized(region, size), (size, size, 3))


def _decode_shrunk(encoded, sides, size: int):
    """Decodes a JPEG at the smallest fraction that leaves `DETAIL` times `size` in both `sides` [2]."""
    times = tf.cast(tf.reduce_min(sides), tf.float32) / (DETAIL * size)
    ratio = tf.reduce_sum(tf.cast(times >= [2.0, 4.0, 8.0], tf.int32))
    return tf.switch_case(ratio, [lambda r=r: decode(encoded, r) for r in (1, 2, 4, 8)])


def decode(encoded, ratio: int = 1):
    """Decodes a JPEG (scalar string) to RGB uint8 [H, W, 3], with the accurate inverse DCT.

    ratio: 1, 2, 4 or 8; the pixels are the image made that many times smaller, sides rounded up.
    """
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE", ratio=ratio)


def resize(image, size: int):
    """Resizes RGB uint8 [H, W, 3] to uint8 [size, size, 3].

    Bilinear with anti-aliasing; the aspect is not kept (decision 11).
    """
    if image.shape[0] == image.shape[1] == size:
        return image
    return _resized(tf.convert_to_tensor(image), size)


def _resized(image, size: int):
    """Returns the same bits as tf.image.resize(antialias=True), in a third of the time.

    The op resizes along a row pixel by pixel, but across rows a whole row at a time. Each direction is
    therefore resized as the rows of an image one pixel wide, whose channels are the pixels of a row. A
    direction that fits already is not resized.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    fit = tf.cond(height == size, lambda: tf.cast(image, tf.float32), lambda: _rows(image, size))
    fit = tf.cond(width == size, lambda: fit, lambda: _turned(_rows(_turned(fit), size)))
    return tf.cast(tf.round(fit), tf.uint8)  # the weights are positive and sum to 1: no value exceeds 255


def _turned(image):
    return tf.transpose(image, (1, 0, 2))


def _rows(image, size: int):
    """Resizes the rows of [H, W, C] to float32 [size, W, C]."""
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
