"""The base of every builder: rows of a raw data set in, TFRecords and a report out.

A raw data set is a subclass of `Builder` that sets its vocabularies and how many rows each
split has, and yields `Row`s. Having the images checked, writing, counting and finishing are
done here.
"""

import collections
import dataclasses
import errno
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

import tensorflow_datasets as tfds

from msmm.core import beam, checksums, images, workers
from msmm.core.errors import UserError
from msmm.core.progress import ProgressBar
from msmm.data import records
from tfrecords_tools.packing import beam_pipeline, report, staging, vocabulary

VERSION = "1.0.0"


@dataclasses.dataclass(frozen=True)
class Row:
    """One image of a raw data set.

    id: unique in the data set. image: the file, or its bytes. labels, tags, groups: names; those
    outside of the vocabularies are left out, labels and tags counted. cause: why it is left out, if its
    data set knows that already.
    """

    id: str
    image: bytes | pathlib.Path
    labels: tuple[str, ...]
    tags: tuple[str, ...]
    cause: str | None = None
    groups: tuple[str, ...] = ()


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self):
        """Never asks TFDS's public bucket whether it knows a data set of this name."""


class _Writer(tfds.core.ExampleWriter):
    """Writes the fields of every example in one order; protobuf's own differs from process to process."""

    def write(self, path, examples):
        import tensorflow as tf

        parse = tf.train.Example.FromString
        return super().write(path, ((k, parse(e).SerializeToString(deterministic=True)) for k, e in examples))


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A raw data set on its way to TFRecords; `pack` runs it.

    A subclass sets `description` (one line), `labels`, `tags` (the vocabularies) and
    `num_rows` (per split) before it calls `super().__init__`, and defines `rows`.
    """

    VERSION = tfds.core.Version(VERSION)
    description: str
    labels: tuple[str, ...]
    tags: tuple[str, ...]
    groups: tuple[str, ...] = ()  # further side information, of few data sets
    num_rows: dict[str, int]
    oddities: Sequence[str] = ()  # sentences for the report
    licence: str | None = None  # of the data, where it is the same for all of them
    paper: report.Paper | None = None  # what the paper says of this data set
    lists: tuple[str, ...] = ()  # arguments that name a file whose changes are told of

    def __init__(
        self,
        *,
        name: str,
        data_dir: pathlib.Path,
        resize: int | None = None,
        max_skipped: float = 0.05,
        drop_unlabelled: bool = True,
        drop_untagged: bool = False,
        drop_class_tags: bool = False,
        vocabulary_from: str | pathlib.Path | None = None,
        workers: int | None = None,
    ):
        """
        resize: scale larger images down to this short side, in pixels; None keeps the files.
        max_skipped: the share of all rows (0 … 1) whose images may be broken.
        drop_unlabelled, drop_untagged: leave out images without a label, a tag of the vocabulary.
        drop_class_tags: leave tags that equal a class name out of the vocabulary (decision 27).
        vocabulary_from: a packed data set whose labels and tags to keep to, in their order.
        workers: how many processes check images, by default one a core; the records do not
            depend on it.
        """
        if resize is not None and resize < 1:
            raise UserError(f"expected a short side of at least 1 pixel to resize to, got {resize}")
        if not 0 <= max_skipped <= 1:
            raise UserError(f"expected a share of 0 to 1 of images that may be skipped, got {max_skipped}")
        self.name = name
        self.resize, self.max_skipped = resize, max_skipped
        self.drop_unlabelled, self.drop_untagged = drop_unlabelled, drop_untagged
        self.drop_class_tags = drop_class_tags
        vocabulary.choose(self, drop_class_tags, vocabulary_from)
        self.workers = workers
        self.dropped = {split: collections.defaultdict(list) for split in self.num_rows}
        self.outside = {
            split: {"labels": collections.Counter(), "tags": collections.Counter()} for split in self.num_rows
        }
        self._seen = set()
        self._folder, self._beam_dir = pathlib.Path(data_dir), None
        super().__init__(data_dir=data_dir)

    def rows(self, split: str) -> Iterable[Row]:
        """The rows of `split`, `num_rows[split]` of them, always in the same order."""
        raise NotImplementedError

    def prepare(self, runner: str | None = None, beam_options: Sequence[str] = ()) -> None:
        """Writes the records to `data_dir`; UserError if too many images are broken.

        runner: of an Apache Beam pipeline that does the work, with its `beam_options` ("name=value");
            None does it with worker processes of this machine.
        """
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        if runner:
            config.beam_runner, config.beam_options = beam.runner_and_options(runner, beam_options)
            self._beam_dir = self._folder / "beam"
        tfds.disable_progress_bar()
        total = sum(self.num_rows.values())
        try:
            with (
                ProgressBar(
                    description=f"packing {self.name}", total=total, unit="images", where=self.data_path
                ) as self._bar,
                workers.Workers(self.workers) as self._workers,
            ):
                self.download_and_prepare(download_config=config)
        except (RuntimeError, ValueError) as error:  # what TFDS and Beam make of every error
            if empty := re.search(r"generated examples is 0 for split (\w+)", str(error)):
                self._collect_broken()
                raise self._nothing_left(empty[1]) from None
            raise
        except OSError as error:
            if error.errno is None and "disk space" in str(error):  # TFDS looked before it began
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.data_path)) from error
            raise
        finally:
            tfds.enable_progress_bar()
        self._collect_broken()
        broken = collections.Counter()
        for causes in self.dropped.values():
            broken.update({c: len(ids) for c, ids in causes.items() if c not in report.FILTERS})
        if broken.total() > self.max_skipped * total:
            raise UserError(
                f"{broken.total()} of {total} images are broken ({report.in_words(broken)}), more than the "
                f"share of {self.max_skipped:g} that may be skipped: mend them or raise --max_skipped"
            )

    def _info(self) -> tfds.core.DatasetInfo:
        features = records.features(self.labels, self.tags, self.groups)
        return _Info(builder=self, description=self.description, features=features, license=self.licence)

    def _split_generators(self, dl_manager):
        label_ids = {name: index for index, name in enumerate(self.labels)}
        tag_ids = {name: index for index, name in enumerate(self.tags)}
        wanted = {split: self._wanted(split, label_ids, tag_ids) for split in self.num_rows}
        if self._beam_dir:
            return {
                split: beam_pipeline.examples(rows, self.resize, self._beam_dir / split)
                for split, rows in wanted.items()
            }
        return {split: self._generate_examples(split, rows) for split, rows in wanted.items()}

    def _generate_examples(self, split, wanted):
        kept = 0
        pairs = (((example, image), image) for example, image in wanted)
        for (example, source), image in self._workers.map(images.checked, pairs, self.resize):
            image = images.read(source) if image is None else image
            if isinstance(image, str):
                self.dropped[split][image].append(example[records.IMAGE_ID])
                continue
            kept += 1
            yield beam_pipeline.keyed(example, image)
        if not kept:
            raise self._nothing_left(split)

    def _nothing_left(self, split: str) -> UserError:
        causes = {cause: len(ids) for cause, ids in self.dropped[split].items()}
        unknown = ", ".join(vocabulary.most_frequent(self.outside[split]["labels"], 3))
        lacks = f", which has no {unknown}" if unknown and report.NO_LABEL in causes else ""
        return UserError(
            f"no image of the {split} split is left of {self.num_rows[split]} rows "
            f"({report.in_words(causes) or 'there are none'}){lacks}: mend them, or check the filters"
        )

    def _collect_broken(self) -> None:
        """What a Beam pipeline found broken; without one, it is counted as it is found."""
        for split in self.num_rows if self._beam_dir else ():
            for image_id, cause in beam_pipeline.broken(self._beam_dir / split):
                self.dropped[split][cause].append(image_id)

    def _wanted(self, split, label_ids, tag_ids) -> Iterator[tuple[dict, bytes | pathlib.Path]]:
        """The rows that no filter leaves out, as examples that lack the image, and their images."""
        group_ids = {name: index for index, name in enumerate(self.groups)}
        for row in self.rows(split):
            self._bar.update()
            if row.id in self._seen:
                raise UserError(f"expected every image id once, got {row.id!r} again")
            self._seen.add(row.id)
            labels = self._known(row.labels, label_ids, self.outside[split]["labels"])
            tags = self._known(row.tags, tag_ids, self.outside[split]["tags"])
            if self.drop_unlabelled and not labels:
                self.dropped[split][report.NO_LABEL].append(row.id)
            elif self.drop_untagged and not tags:
                self.dropped[split][report.NO_TAG].append(row.id)
            elif row.cause:
                self.dropped[split][row.cause].append(row.id)
            else:
                example = {records.TAGS: tags, records.LABELS: labels, records.IMAGE_ID: row.id}
                if group_ids:
                    example[records.GROUPS] = self._known(row.groups, group_ids, collections.Counter())
                yield example, row.image

    @staticmethod
    def _known(names: Iterable[str], ids: dict[str, int], outside: collections.Counter) -> list[int]:
        outside.update({name for name in names if name not in ids})
        return sorted({ids[name] for name in names if name in ids})

    def _example_writer(self):
        return _Writer(self.info.file_format)

    def _log_download_bytes(self):
        """TFDS prints a line here; the progress bar says it better."""

    def _log_download_done(self):
        """And here; the summary says it better."""


def pack(
    builder_class: type[Builder],
    name: str,
    data_dir: str | pathlib.Path,
    *,
    overwrite: bool = False,
    runner: str | None = None,
    beam_options: Sequence[str] = (),
    **arguments,
) -> None:
    """Packs a raw data set to `<data_dir>/<name>/1.0.0/`, writes its report and prints a summary.

    A finished data set is left alone unless `overwrite`, and what is printed says whether a list that it
    was packed from has changed; nothing of an unfinished one stays, not even of a killed run's, and the
    old one stays until the new one is complete. `runner` and `beam_options` are those of
    `Builder.prepare`; `arguments` go to `builder_class`.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UserError(
            f"expected a data set name of letters, digits and underscores, a letter first, got {name!r}: "
            "choose one with --name"
        )
    data_dir = pathlib.Path(data_dir)
    final = data_dir / name / VERSION
    staging.clean(data_dir)
    given = {argument: arguments[argument] for argument in builder_class.lists if arguments.get(argument)}
    if final.exists() and not overwrite:
        print(f"{final} is there already{report.changed(final, given)}; --overwrite packs it again")
        return
    digests = report.digests(given)  # now: a list that is edited while it is packed has changed since
    with staging.folder(data_dir) as unfinished:
        builder = builder_class(name=name, data_dir=unfinished, **arguments)
        builder.prepare(runner, beam_options)
        dataset = records.open_dataset(unfinished, name)
        settings = {key: value for key, value in arguments.items() if key != "workers"}
        content = report.report(dataset, builder, settings, digests)
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (dataset.directory / records.REPORT).write_text(text + "\n", encoding="utf-8")
        known = {
            path.name: digest
            for split, digests in content["checksums"].items()
            for path, digest in zip(dataset.builder.info.splits[split].filepaths, digests, strict=True)
        }
        checksums.write(dataset.directory, [path.name for path in dataset.directory.iterdir()], known)
        staging.finish(unfinished, dataset.directory, final)
    print(report.summary(content))
    print(f"\npacked to {final}; what was left out is listed in its {records.REPORT}")
