"""Multi-modal multi-scale deep learning for large-scale image annotation, in Keras.

    import msmm

    model = msmm.load("runs/scenes/seed0/model")
    for annotation in model.annotate(["beach.jpg", "dog.jpg"]):
        print(annotation.labels, annotation.quantity)

Everything is imported when it is first used, so that `import msmm` takes no time.
"""

import importlib
from typing import Any

__version__ = "0.2.0.dev0"
__all__ = [
    "Annotation",
    "PhotoModel",
    "UserError",
    "build_annotator",
    "load",
    "losses",
    "metrics",
    "read_photo",
]

# Name -> its module, and its name there; "" for the module itself. Cards of models of 0.1.0 import model_dir.
_PLACES = {
    "Annotation": ("msmm.inference.model", "Annotation"),
    "PhotoModel": ("msmm.api", "PhotoModel"),
    "UserError": ("msmm.core.errors", "UserError"),
    "build_annotator": ("msmm.models.annotator", "build_annotator"),
    "load": ("msmm.api", "load"),
    "losses": ("msmm.models.losses", ""),
    "metrics": ("msmm.models.metrics", ""),
    "model_dir": ("msmm.inference.model_dir", ""),
    "read_photo": ("msmm.api", "read_photo"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'msmm' has no attribute {name!r}: it has {', '.join(__all__)}")
    module, attribute = _PLACES[name]
    value = importlib.import_module(module)
    return getattr(value, attribute) if attribute else value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
