"""Encoded images to the pixels that a network reads; TensorFlow ops, usable eagerly and in tf.data."""

import tensorflow as tf


def decode(encoded):
    """Encoded JPEG (scalar string) -> RGB uint8 [H, W, 3], with the accurate inverse DCT."""
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def resize(image, size: int):
    """RGB uint8 [H, W, 3] -> uint8 [size, size, 3].

    Bilinear with anti-aliasing; the aspect is not kept (decision 11).
    """
    if image.shape[0] == image.shape[1] == size:
        return image
    resized = tf.image.resize(image, (size, size), antialias=True)
    return tf.saturate_cast(tf.round(resized), tf.uint8)
