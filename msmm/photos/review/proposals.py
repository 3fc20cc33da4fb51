"""The proposed keywords of many photographs, computed in the background while a person reviews the first."""

import dataclasses
import itertools
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from msmm.core import workers
from msmm.core.text import normalise_tag
from msmm.inference.model import Model
from msmm.photos import batches, reading, sidecars
from msmm.photos.keywords import Tags
from msmm.photos.xmp import last_level

FIRST_BATCH = 4  # photographs, so that the person waits for few


@dataclasses.dataclass(frozen=True)
class Proposal:
    """The proposed keywords of a photograph.

    Attributes:
      labels: the labels that the model chooses, surest first.
      probabilities: of all labels of the model, float16 [C].
      own: the keywords that the photograph has, without what msmm wrote into its sidecar.
      embedded: those in the photograph itself.
      machine: keywords that `annotate` has written into the sidecar.
      confirmed: keywords that an earlier review has written into the sidecar.
      problems: causes why some keywords were not read.
      cause: why the photograph cannot be reviewed, or "".
    """

    labels: tuple[str, ...] = ()
    probabilities: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float16))
    own: tuple[str, ...] = ()
    embedded: tuple[str, ...] = ()
    machine: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    cause: str = ""


class Proposer:
    """Computes the proposals of photographs in a thread; nothing is written.

    Args:
      model: a loaded model.
      paths: the photographs.
      num_workers: processes that decode, by default one a core.

    Attributes:
      proposals: a proposal for each path, or None where it is not computed yet.
      probabilities: float16 [N, C], zero in rows that are not computed yet.
      failure: why no more are computed, or "".
    """

    def __init__(self, model: Model, paths: Sequence[str], num_workers: int | None = None):
        self._model, self._paths, self._num_workers = model, paths, num_workers
        self._order: Sequence[int] = ()
        self.proposals: list[Proposal | None] = [None] * len(paths)
        self.probabilities = np.zeros((len(paths), len(model.labels)), np.float16)
        self.failure = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proposals", daemon=True)

    def start(self, order: Sequence[int]) -> None:
        """Starts computing. order: the indices of the paths, in the order in which they are computed."""
        self._order = order
        self._thread.start()

    def stop(self) -> None:
        """Ends computing after the batch at hand."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def num_ready(self) -> int:
        """The number of computed proposals."""
        return sum(proposal is not None for proposal in self.proposals)

    def _run(self) -> None:
        try:
            self._compute()
        except Exception as error:  # the page must say why it waits in vain
            self.failure = f"{type(error).__name__}: {' '.join(str(error).split())}"

    def _compute(self) -> None:
        model = self._model
        tags = Tags(model.tags)
        preparation = reading.Preparation(
            model.image_size, to_sidecar=True, overwrite=True, with_context=model.reads_context
        )
        wanted = ((index, self._paths[index]) for index in self._order if not self._stopping.is_set())
        with workers.Workers(self._num_workers) as pool:
            photos = self._keep(pool.map(reading.prepare_photo, wanted, preparation))
            for size in itertools.chain([FIRST_BATCH], itertools.repeat(batches.BATCH)):
                batch = list(itertools.islice(photos, size))
                if not batch or self._stopping.is_set():
                    return
                pairs = [(self._paths[index], photo) for index, photo in batch]
                annotated = batches.annotate_batch(model, tags, pairs, batches.Counting())
                for (index, photo), annotation in zip(batch, annotated, strict=True):
                    self._set(index, photo, annotation)

    def _keep(self, prepared) -> Iterator[tuple[int, reading.Photo]]:
        """Yields the photographs that can be annotated, and notes why others cannot."""
        for index, photo in prepared:
            if isinstance(photo, reading.Photo):
                yield index, photo
            else:
                self.proposals[index] = Proposal(cause=photo.cause)

    def _set(self, index: int, photo: reading.Photo, annotation) -> None:
        record = sidecars.read_record(self._paths[index])
        confirmed = set(map(normalise_tag, record.confirmed))
        row = [annotation.probabilities[label] for label in self._model.labels]
        self.probabilities[index] = row
        self.proposals[index] = Proposal(
            labels=tuple(annotation.labels),
            probabilities=self.probabilities[index],
            own=tuple(distinct_keywords(photo.keywords.words, confirmed)),
            embedded=tuple(photo.embedded),
            machine=record.added,
            confirmed=record.confirmed,
            problems=tuple(photo.keywords.problems),
        )


def distinct_keywords(words: Sequence[str], excluded: set[str]) -> list[str]:
    """Returns keywords, each once by the last level of its hierarchy, without `excluded` normalised ones."""
    kept: dict[str, str] = {}
    for word in words:
        name = last_level(word)
        if (key := normalise_tag(name)) and key not in excluded:
            kept.setdefault(key, name)
    return list(kept.values())
