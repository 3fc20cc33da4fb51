"""A finished model on disk, complete in itself: annotating needs neither the data set nor the training code.

<model>/model.keras     the network: pixels and tags to probabilities and quantity
<model>/labels.txt      the C class names, a line each, in the order of the probabilities
<model>/tags.txt        the T tags that it knows, a line each
<model>/model.json      settings, data set, preprocessing and what was measured
<model>/README.md       the same in words, a model card
<model>/quantities.json how many labels: the estimators fitted on held-out images, and the one chosen there
<model>/quantities_without_tags.json the same for images that have no tag
<model>/SHA256SUMS      what the files are, but for README.md, which is for people and may be edited
<model>/engines/        conversions and measurements of `msmm.inference.engines`; safe to delete
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from msmm.core import checksums
from msmm.core.errors import UserError
from msmm.core.files import read_json, whole_directory, write_json, write_lines
from msmm.inference import model_card
from msmm.quantities.counting_rules import CountingRule, Regression
from msmm.quantities.fitting import FittedCountingRules
from msmm.quantities.registry import BEST
from msmm.scoring.predictions import choose_labels

QUANTITIES = ("quantities.json", "quantities_without_tags.json")

# What `Model.annotate` does before the network, for whoever does it elsewhere.
_PREPROCESSING = {
    "pixels": "RGB, float32 from 0 to 255",
    "resize": "bilinear with anti-aliasing, the aspect not kept, rounded to whole numbers",
    "normalisation": "what else the backbone needs, the network does itself",
    "tags": "float32, 1 for each line of tags.txt that the image has, 0 for the others",
}

_REMEDY = "copy or save the model again, or delete SHA256SUMS there if you changed the file on purpose"


@dataclasses.dataclass(frozen=True)
class Annotation:
    """What the model says of one image.

    labels: the chosen names, surest first.
    probabilities: [C] float32, by class.
    quantity: the regressor's label quantity before rounding.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    quantity: float


@dataclasses.dataclass(frozen=True)
class Engine:
    """What runs a network.

    run: image [B, S, S, 3] and tags [B, T], float32, to "probabilities" [B, C] and raw "quantity" [B],
    float32. sizes: S as "image", T as "tags", C as "labels". second_look: of what `run` was given and said,
    and how labels are chosen, to what counts instead; see `engines.second_look`.
    """

    run: Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]
    sizes: Mapping[str, int]
    second_look: Callable[..., Mapping[str, np.ndarray]] | None = None


class Model:
    """A loaded model directory.

    network: what `msmm.models.annotator` describes, or None where an engine runs it. labels, tags: the
    vocabularies. info: what model.json says. quantities: estimators of how many labels to keep, or None in a
    directory that has none; quantities_without_tags: those for images without a tag that the model knows.
    """

    def __init__(
        self,
        network: "keras.Model | Engine",  # noqa: F821 - not imported here: it takes seconds
        labels: tuple[str, ...],
        tags: tuple[str, ...],
        info: dict,
        quantities: FittedCountingRules | None = None,
        quantities_without_tags: FittedCountingRules | None = None,
    ):
        self.network, engine = (None, network) if isinstance(network, Engine) else (network, _engine(network))
        self.labels, self.tags, self.info = labels, tags, info
        self.quantities, self.quantities_without_tags = quantities, quantities_without_tags
        self.image_size, self.run = engine.sizes["image"], engine.run
        self.second_look = engine.second_look
        self._tag_ids = {tag: i for i, tag in enumerate(tags)}

    def annotate(
        self,
        images: Sequence[np.ndarray],
        tags: Sequence[Sequence[str]] | None = None,
        quantity: str | CountingRule | None = None,
    ) -> list[Annotation]:
        """Algorithm 2 over images (RGB uint8 [H, W, 3], any size) and the tags of each.

        Tags outside the vocabulary are left out; without `tags` no image has any, and an image without any
        is judged by its pixels alone (decision 35). quantity: who says how
        many labels, "regression" as in the paper, "best" for what held-out images chose or any other of
        `quantities.registry.COUNTING_RULES`, or an estimator itself; without it "best", or "regression" where
        the directory has no estimators. Raises UserError where it does not have that one.
        """
        estimators = self.estimators(quantity)
        pixels, multi_hot = self.inputs(images, tags)

        def chosen_of(probabilities, raw, tagged):
            chosen = np.empty(probabilities.shape, bool)
            for has_tags, estimator in estimators.items():
                rows = tagged == has_tags
                if rows.any():
                    chosen[rows] = choose_labels(estimator.apply(probabilities[rows], raw[rows]))
            return chosen

        said = self.run(pixels, multi_hot)
        if self.second_look:
            said = self.second_look(pixels, multi_hot, said, chosen_of)
        probabilities, raw = said["probabilities"], said["quantity"]
        chosen = chosen_of(probabilities, raw, multi_hot.any(axis=1))
        return [
            Annotation(tuple(self.labels[i] for i in np.argsort(-p, kind="stable") if c[i]), p, float(q))
            for p, c, q in zip(probabilities, chosen, raw, strict=True)
        ]

    def inputs(
        self, images: Sequence[np.ndarray], tags: Sequence[Sequence[str]] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the network reads of images and their tags: float32 [B, S, S, 3] and [B, T]."""
        pixels = np.stack([self._square(image) for image in images])
        multi_hot = np.zeros((len(images), len(self.tags)), np.float32)
        for row, words in enumerate(tags or []):
            multi_hot[row, [self._tag_ids[word] for word in words if word in self._tag_ids]] = 1
        return pixels.astype(np.float32), multi_hot

    def _square(self, image: np.ndarray) -> np.ndarray:
        if image.shape[:2] == (self.image_size, self.image_size):
            return np.asarray(image)
        from msmm.data import preprocessing  # which imports TensorFlow

        return np.asarray(preprocessing.resize(image, self.image_size))

    def estimators(self, name: str | CountingRule | None = None) -> dict[bool, CountingRule]:
        """Whether an image has tags that the model knows -> the estimator that `annotate` counts it with."""
        if not isinstance(name, str | None):
            return dict.fromkeys((True, False), name)
        if not self.quantities:
            if name in (None, "regression"):
                return dict.fromkeys((True, False), Regression())
            known = ["regression"]
        elif name in (None, BEST, *self.quantities.rules):
            fitted = {True: self.quantities, False: self.quantities_without_tags or self.quantities}
            return {tagged: f.rules[f.best if name in (None, BEST) else name] for tagged, f in fitted.items()}
        else:
            known = [BEST, *self.quantities.rules]
        raise UserError(
            f"expected a quantity of {', '.join(known)}, which this model has. Received: {name!r}"
        )


def save(
    directory,
    network: "keras.Model",  # noqa: F821
    labels,
    tags,
    info: dict,
    quantities: dict[str, FittedCountingRules] | None = None,
) -> None:
    """Writes a model directory so that it is there whole or not at all.

    quantities: file name of `QUANTITIES` -> estimators.

    info: see `model_card` for what it must and may say; what the pixels and tags must be is added here.
    """
    info = info | {"preprocessing": _PREPROCESSING | {"image_size": sizes_of(network)["image"]}}
    with whole_directory(directory) as partial:
        network.save(partial / "model.keras")
        write_lines(partial / "labels.txt", labels)
        write_lines(partial / "tags.txt", tags)
        write_json(partial / "model.json", info)
        card = model_card.model_card(info, labels, tags)
        (partial / "README.md").write_text(card, encoding="utf-8")
        for name, fitted in (quantities or {}).items():
            write_json(partial / name, fitted.to_json())
        checksums.write(partial, {path.name for path in partial.iterdir()} - {"README.md"})


def check(directory) -> pathlib.Path:
    """The path of a model directory. Raises UserError where a file is missing or damaged."""
    directory = pathlib.Path(directory)
    for name in ("model.keras", "labels.txt", "tags.txt", "model.json"):
        if not (directory / name).is_file():
            below = [*directory.glob("model/model.keras"), *sorted(directory.glob("*/model/model.keras"))]
            meant = f"; did you mean {below[0].parent}?" if below else ""
            raise UserError(
                f"expected a model directory with {name} in {directory}. Received: no such file{meant}"
            )
    checksums.check_directory(directory, _REMEDY)
    return directory


def load(directory, engine: Engine | None = None) -> Model:
    """Reads a model directory. Raises UserError naming what is missing or damaged.

    engine: what runs its network, instead of Keras, which is then not imported.
    """
    directory = check(directory)
    network = engine or _network(directory / "model.keras")
    labels, tags = (_names(directory / name) for name in ("labels.txt", "tags.txt"))
    try:
        sizes = engine.sizes if engine else sizes_of(network)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise UserError(
            f"{directory / 'model.keras'} is not a network that msmm saved ({error}): {_REMEDY}"
        ) from error
    if (sizes["labels"], sizes["tags"]) != (len(labels), len(tags)):
        raise UserError(
            f"the network in {directory} has {sizes['labels']} classes and {sizes['tags']} tags, "
            f"its labels.txt and tags.txt {len(labels)} and {len(tags)}: they are of different models"
        )
    fitted = (_quantities(directory / name, len(labels)) for name in QUANTITIES)
    return Model(network, labels, tags, read_json(directory / "model.json", _REMEDY), *fitted)


def _names(path: pathlib.Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged ({error}): {_REMEDY}") from error


def _quantities(path: pathlib.Path, num_classes: int) -> FittedCountingRules | None:
    if not path.is_file():  # written by an earlier version
        return None
    said = read_json(path, _REMEDY)
    try:
        return FittedCountingRules.from_json(said, num_classes)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error!r}; save the model again") from error


def _network(path: pathlib.Path):
    import keras

    try:
        return keras.saving.load_model(path, compile=False)  # safe mode
    except Exception as error:  # whatever a damaged file makes Keras raise
        raise UserError(f"cannot read {path}: {error}") from error


def _engine(network) -> Engine:
    def run(image, tags):
        said = network.predict_on_batch({"image": image, "tags": tags})
        return {"probabilities": said["probabilities"], "quantity": said["quantity"][:, 0]}

    return Engine(run, sizes_of(network))


def sizes_of(network) -> dict[str, int]:
    """S of the image, T and C of a Keras model."""
    inputs = {tensor.name: tensor.shape[1] for tensor in network.inputs}
    return inputs | {"labels": network.get_layer("probabilities").output.shape[-1]}
