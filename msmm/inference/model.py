"""A finished model in memory, which annotates images by Algorithm 2; Keras or an engine runs its network."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from msmm.core.errors import UserError
from msmm.quantities.counting_rules import CountingRule, Regression
from msmm.quantities.fitting import FittedCountingRules
from msmm.quantities.registry import BEST
from msmm.scoring.predictions import choose_labels

if TYPE_CHECKING:
    import keras  # which takes seconds

CONTEXT_TAGS = "context_tags"  # in model.json, where it is true


@dataclasses.dataclass(frozen=True)
class Annotation:
    """The annotation of one image.

    Attributes:
      labels: chosen class names, the most probable first.
      probabilities: float32 [C], in the order of the model's labels.
      quantity: predicted number of labels, by the regressor, before rounding.
      rule: the counting rule that decided how many labels to keep.
    """

    labels: tuple[str, ...]
    probabilities: np.ndarray
    quantity: float
    rule: str = ""


@dataclasses.dataclass(frozen=True)
class RunnableNetwork:
    """A network, ready to run.

    Attributes:
      run: image [B, S, S, 3] and tags [B, T], float32, to "probabilities" [B, C] and raw "quantity" [B],
        float32.
      sizes: S as "image", T as "tags", C as "labels".
      second_look: corrects the outputs of `run`, see `engines.second_look`; or None.
    """

    run: Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]
    sizes: Mapping[str, int]
    second_look: Callable[..., Mapping[str, np.ndarray]] | None = None


class Model:
    """A loaded model directory.

    Attributes:
      network: the Keras model of `msmm.models.annotator`, or None where an engine runs it.
      labels, tags: the vocabularies.
      info: the content of model.json.
      quantities: counting rules, or None in a directory that has none.
      quantities_without_tags: counting rules for images without a known tag.
      image_size: side of the network's input, pixels.
    """

    def __init__(
        self,
        network: "keras.Model | RunnableNetwork",
        labels: tuple[str, ...],
        tags: tuple[str, ...],
        info: dict,
        quantities: FittedCountingRules | None = None,
        quantities_without_tags: FittedCountingRules | None = None,
    ):
        engine = network if isinstance(network, RunnableNetwork) else _run_by_keras(network)
        self.network: Any = None if isinstance(network, RunnableNetwork) else network
        self.labels, self.tags, self.info = labels, tags, info
        self.quantities, self.quantities_without_tags = quantities, quantities_without_tags
        self.image_size, self.run = engine.sizes["image"], engine.run
        self.second_look = engine.second_look
        self._tag_ids = {tag: i for i, tag in enumerate(tags)}

    @property
    def reads_context(self) -> bool:
        """True if its tags are also words of folder and file names, captions and the like."""
        return bool(self.info.get(CONTEXT_TAGS))

    def annotate(
        self,
        images: Iterable[np.ndarray],
        tags: Iterable[Sequence[str]] | None = None,
        quantity: str | CountingRule | None = None,
        batch_size: int = 32,
    ) -> list[Annotation]:
        """Annotates images (Algorithm 2), batch by batch.

        Args:
          images: RGB uint8 [H, W, 3] of any size.
          tags: one collection of tags per image; without it no image has any. Unknown tags are left out. An
            image without known tags is annotated by its pixels alone (decision 35).
          quantity: the counting rule: "regression" as in the paper, "best" as chosen on held-out images,
            another name of `quantities.registry.COUNTING_RULES`, or a counting rule itself. By default
            "best", or "regression" where the directory has no others.
          batch_size: number of images that are computed, and held in memory, at a time.

        Raises:
          UserError: the directory does not have that counting rule, or there are not as many tags as images.
        """
        rules = self.counting_rules(quantity)
        rows, annotations = pair_with_tags(images, tags), []
        while batch := list(itertools.islice(rows, batch_size)):
            batch_images, batch_tags = zip(*batch, strict=True)
            annotations += self._annotate_batch(batch_images, batch_tags, rules)
        return annotations

    def _annotate_batch(self, images, tags, rules: dict[bool, CountingRule]) -> list[Annotation]:
        pixels, multi_hot = self.inputs(images, tags)

        def apply_rules(probabilities, raw, tagged):
            chosen = np.empty(probabilities.shape, bool)
            for has_tags, rule in rules.items():
                rows = tagged == has_tags
                if rows.any():
                    chosen[rows] = choose_labels(rule.apply(probabilities[rows], raw[rows]))
            return chosen

        outputs = self.run(pixels, multi_hot)
        if self.second_look:
            outputs = self.second_look(pixels, multi_hot, outputs, apply_rules)
        probabilities, raw, tagged = (
            outputs["probabilities"],
            outputs["quantity"],
            np.asarray(multi_hot.any(axis=1)),
        )
        chosen = apply_rules(probabilities, raw, tagged)
        annotations = []
        for p, q, row, has_tags in zip(probabilities, raw, chosen, tagged, strict=True):
            names = tuple(self.labels[i] for i in np.argsort(-p, kind="stable") if row[i])
            annotations.append(Annotation(names, p, float(q), rules[bool(has_tags)].title))
        return annotations

    def inputs(
        self, images: Sequence[np.ndarray], tags: Sequence[Sequence[str]] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the network's inputs for images and their tags: float32 [B, S, S, 3] and [B, T]."""
        pixels = np.stack([self._square(image) for image in images])
        multi_hot = np.zeros((len(images), len(self.tags)), np.float32)
        for row, words in enumerate(tags or []):
            multi_hot[row, [self._tag_ids[word] for word in words or () if word in self._tag_ids]] = 1
        return pixels.astype(np.float32), multi_hot

    def has_tags(self, tags: Sequence[Sequence[str]]) -> np.ndarray:
        """Returns whether each image has a tag that the model knows, bool [B]."""
        return np.array([any(word in self._tag_ids for word in words) for words in tags], bool)

    def _square(self, image: np.ndarray) -> np.ndarray:
        if image.shape[:2] == (self.image_size, self.image_size):
            return np.asarray(image)
        from msmm.data import preprocessing  # which imports TensorFlow

        return np.asarray(preprocessing.resize(image, self.image_size))

    def counting_rules(self, name: str | CountingRule | None = None) -> dict[bool, CountingRule]:
        """Returns the counting rules of images with known tags (True) and of others (False)."""
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


def pair_with_tags(images: Iterable, tags: Iterable[Sequence[str]] | None) -> Iterator[tuple]:
    """Yields (image, its tags), or (image, None) without `tags`. Raises UserError where they do not match."""
    if tags is None:
        yield from ((image, None) for image in images)
        return
    for image, words in itertools.zip_longest(images, tags, fillvalue=_MISSING):
        if image is _MISSING or words is _MISSING:
            less, more = ("images", "tags") if image is _MISSING else ("tags", "images")
            raise UserError(f"expected one list of tags per image. Received: fewer {less} than {more}")
        if isinstance(words, str):
            raise UserError(f"expected a list of tags per image, as [['beach', 'sea']]. Received: {words!r}")
        yield image, words


_MISSING = object()


def _run_by_keras(network) -> RunnableNetwork:
    """Returns the engine that runs a Keras model."""

    def run(image, tags):
        outputs = network.predict_on_batch({"image": image, "tags": tags})
        return {"probabilities": outputs["probabilities"], "quantity": outputs["quantity"][:, 0]}

    return RunnableNetwork(run, sizes_of(network))


def sizes_of(network) -> dict[str, int]:
    """Returns S of the image, T and C of a Keras model."""
    inputs = {tensor.name: tensor.shape[1] for tensor in network.inputs}
    return inputs | {"labels": network.get_layer("probabilities").output.shape[-1]}
