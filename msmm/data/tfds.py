"""TensorFlow Datasets, imported so that what it writes in one country is read in another.

    from msmm.data.tfds import tfds

Its import names the fields of dataset_info.json by the C library's capital letters. In Turkish and Azeri the
capital of i is another letter, so the names would differ from those of all other locales.
"""

import locale

_locale = locale.setlocale(locale.LC_CTYPE)
locale.setlocale(locale.LC_CTYPE, "C")
try:
    import tensorflow_datasets as tfds
finally:
    locale.setlocale(locale.LC_CTYPE, _locale)

__all__ = ["tfds"]
