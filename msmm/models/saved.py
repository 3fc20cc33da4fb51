"""Reading of saved Keras models and weights, all of whose weights must be in the file."""

import contextlib
import warnings
from collections.abc import Iterator

import keras


def load_model(path) -> keras.Model:
    """Loads a `.keras` file. Safe mode: it runs no code from the file. Raises whatever Keras raises."""
    with _refuse_missing_weights():
        return keras.saving.load_model(path, compile=False)


def load_weights(model: keras.Model, path) -> None:
    """Loads a weights file into a model. Raises whatever Keras raises, and if a weight is missing."""
    with _refuse_missing_weights():
        model.load_weights(path)


@contextlib.contextmanager
def _refuse_missing_weights() -> Iterator[None]:
    """Turns the warning of Keras 3.15 that layers keep random weights into an error, as it was before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=r"(?s).*freshly-initialized", category=UserWarning)
        yield
