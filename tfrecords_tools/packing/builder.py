"""From the rows of a raw data set to TFRecords and a report.

Here the images are checked, the records written, what is left out is counted, and the data set finished.
"""

import collections
import dataclasses
import errno
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msmm.core import beam, checksums, command_line, images, workers
from msmm.core.errors import UserError
from msmm.core.progress import ProgressBar
from msmm.data import example_schema, records
from msmm.data.tfds import tfds
from tfrecords_tools.packing import beam_pipeline, report, staging, vocabulary
from tfrecords_tools.packing.raw_dataset import RawDataset, Settings

VERSION = "1.0.0"


class _Info(tfds.core.DatasetInfo):
    def initialize_from_bucket(self):
        """Does nothing: TFDS would look for a data set of this name in its public bucket."""


class _Writer(tfds.core.ExampleWriter):
    """Writes the fields of every example in one order; protobuf's own differs from process to process."""

    def write(self, path, examples):
        if "tensorflow" not in sys.modules:  # in a worker process of Beam
            command_line.import_tensorflow()
        import tensorflow as tf

        parse = tf.train.Example.FromString
        return super().write(path, ((k, parse(e).SerializeToString(deterministic=True)) for k, e in examples))


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A raw data set on its way to TFRecords; `pack` runs it.

    Args:
        raw: the raw data set.
        name: the name to pack it under.
        data_dir: the folder to write to.
        settings: how to pack it.
    """

    VERSION = tfds.core.Version(VERSION)

    def __init__(self, raw: RawDataset, name: str, data_dir: str | pathlib.Path, settings: Settings):
        self.name, self.raw = name, raw
        self.settings = settings = _resolve_settings(raw, settings)
        self.contents = contents = vocabulary.apply_settings(raw.read(settings), settings)
        self.dropped = {split: collections.defaultdict(list) for split in contents.num_rows}
        self.outside = {
            split: {"labels": collections.Counter(), "tags": collections.Counter()}
            for split in contents.num_rows
        }
        self._seen = set()
        self._folder, self._beam = pathlib.Path(data_dir), None
        if contents.arrays is not None and settings.resize:
            raise UserError("--resize changes images, and a data set of arrays has none: leave it out")
        super().__init__(data_dir=data_dir)

    def prepare(self, runner: str | None = None, beam_options: Sequence[str] = ()) -> None:
        """Writes the records to `data_dir`.

        Args:
            runner: the runner of an Apache Beam pipeline; None uses worker processes of this machine.
            beam_options: options of the pipeline, as "name=value".

        Raises:
            UserError: too many images are broken, or no image of a split is left.
        """
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        if runner and self.contents.arrays is not None:
            raise UserError("a data set of arrays is packed by one process: leave --runner out")
        if runner:
            self._beam = beam.runner_and_options(runner, beam_options)
        tfds.disable_progress_bar()
        total = sum(self.contents.num_rows.values())
        try:
            with (
                ProgressBar(
                    description=f"packing {self.name}", total=total, unit="images", where=self.data_path
                ) as self._bar,
                workers.Workers(self.settings.workers) as self._workers,
            ):
                self.download_and_prepare(download_config=config)
        except OSError as error:
            if error.errno is None and "disk space" in str(error):  # TFDS checks before it begins
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.data_path)) from error
            raise
        finally:
            tfds.enable_progress_bar()
        broken = collections.Counter()
        for causes in self.dropped.values():
            broken.update({c: len(ids) for c, ids in causes.items() if c not in report.FILTERS})
        if broken.total() > self.settings.max_skipped * total:
            raise UserError(
                f"{broken.total()} of {total} images are broken ({report.in_words(broken)}), more than the "
                f"share of {self.settings.max_skipped:g} that may be skipped: mend them or raise "
                "--max_skipped"
            )

    def _info(self) -> tfds.core.DatasetInfo:
        contents = self.contents
        features = example_schema.features(contents.labels, contents.tags, contents.groups, contents.arrays)
        return _Info(
            builder=self,
            description=self.contents.description,
            features=features,
            license=self.raw.licence,
        )

    def _split_generators(self, dl_manager):
        label_ids = {name: index for index, name in enumerate(self.contents.labels)}
        tag_ids = {name: index for index, name in enumerate(self.contents.tags)}
        wanted = {split: self._wanted(split, label_ids, tag_ids) for split in self.contents.num_rows}
        return {split: self._generate_examples(split, rows) for split, rows in wanted.items()}

    def _generate_examples(self, split, wanted):
        kept = 0
        for example, image in wanted if self.contents.arrays is not None else self._checked(split, wanted):
            if isinstance(image, str):
                self.dropped[split][image].append(example[records.IMAGE_ID])
                continue
            kept += 1
            yield beam_pipeline.keyed(example, image)
        if not kept:
            raise self._nothing_left(split)

    def _checked(self, split, wanted) -> Iterator[tuple[dict, bytes | str]]:
        """Yields the examples with their images as JPEG, or with the cause why an image is broken."""
        if self._beam:
            folder = self._folder / "beam" / split
            converted = beam_pipeline.convert(wanted, self.settings.resize, folder, *self._beam)
        else:
            pairs = (((example, image), image) for example, image in wanted)
            converted = self._workers.map(images.convert_or_explain, pairs, self.settings.resize)
        for (example, source), image in converted:
            yield example, images.read_or_explain(source) if image is None else image

    def _nothing_left(self, split: str) -> UserError:
        causes = {cause: len(ids) for cause, ids in self.dropped[split].items()}
        unknown = ", ".join(vocabulary.most_frequent(self.outside[split]["labels"], 3))
        lacks = f", which has no {unknown}" if unknown and report.NO_LABEL in causes else ""
        return UserError(
            f"no image of the {split} split is left of {self.contents.num_rows[split]} rows "
            f"({report.in_words(causes) or 'there are none'}){lacks}: mend them, or check the filters"
        )

    def _wanted(self, split, label_ids, tag_ids) -> Iterator[tuple[dict, bytes | pathlib.Path]]:
        """Yields the rows that no filter leaves out, as examples without the image, and their images."""
        group_ids = {name: index for index, name in enumerate(self.contents.groups)}
        for row in self.raw.rows(split):
            self._bar.update()
            if row.id in self._seen:
                raise UserError(f"expected every image id once, got {row.id!r} again")
            self._seen.add(row.id)
            labels = self._known(row.labels, label_ids, self.outside[split]["labels"])
            tags = self._known(row.tags, tag_ids, self.outside[split]["tags"])
            if row.cause and not row.labels and row.cause not in report.FILTERS:
                self.dropped[split][row.cause].append(row.id)  # broken, so its labels are not known
            elif self.settings.drop_unlabelled and not labels and not row.complete:
                self.dropped[split][report.NO_LABEL].append(row.id)
            elif self.settings.drop_untagged and not tags:
                self.dropped[split][report.NO_TAG].append(row.id)
            elif row.cause:
                self.dropped[split][row.cause].append(row.id)
            else:
                example = {records.TAGS: tags, records.LABELS: labels, records.IMAGE_ID: row.id}
                if group_ids:
                    example[records.GROUPS] = self._known(row.groups, group_ids, collections.Counter())
                yield example | row.arrays, row.image

    @staticmethod
    def _known(names: Iterable[str], ids: dict[str, int], outside: collections.Counter) -> list[int]:
        outside.update({name for name in names if name not in ids})
        return sorted({ids[name] for name in names if name in ids})

    def _example_writer(self):
        return _Writer(self.info.file_format)

    def _log_download_bytes(self):
        """Prints nothing, unlike TFDS: the progress bar shows it."""

    def _log_download_done(self):
        """Prints nothing, unlike TFDS: the summary contains it."""


def create_builder(
    kind: type[RawDataset], name: str, data_dir: str | pathlib.Path, **arguments: Any
) -> Builder:
    """Returns a builder that has read all but the images; `arguments` as for `pack`."""
    own = {field.name for field in dataclasses.fields(kind)}
    raw = kind(**{key: value for key, value in arguments.items() if key in own})
    settings = Settings(**{key: value for key, value in arguments.items() if key not in own})
    return Builder(raw, name, data_dir, settings)


def pack(
    kind: type[RawDataset],
    name: str,
    data_dir: str | pathlib.Path,
    *,
    overwrite: bool = False,
    runner: str | None = None,
    beam_options: Sequence[str] = (),
    **arguments: Any,
) -> None:
    """Packs a raw data set to `<data_dir>/<name>/1.0.0/`, writes its report and prints a summary.

    Nothing of an unfinished data set stays, not even after a killed run. An old one stays until the new one
    is complete.

    Args:
        kind: the raw data set.
        name: the name to pack it under.
        data_dir: the folder of packed data sets.
        overwrite: pack a finished data set again. Otherwise it is left alone, and the printed line names the
            lists that have changed since.
        runner, beam_options: as for `Builder.prepare`.
        **arguments: options of `kind`, and `Settings`.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UserError(
            f"expected a data set name of letters, digits and underscores, a letter first, got {name!r}: "
            "choose one with --name"
        )
    data_dir = pathlib.Path(data_dir)
    final = data_dir / name / VERSION
    staging.clean(data_dir)
    given = {argument: arguments[argument] for argument in kind.lists if arguments.get(argument)}
    if final.exists() and not overwrite:
        print(f"{final} is there already{report.changed(final, given)}; --overwrite packs it again")
        return
    digests = report.digests(given)  # before packing: an edit in the meantime is a change
    with staging.folder(data_dir) as unfinished:
        builder = create_builder(kind, name, unfinished, **arguments)
        builder.prepare(runner, beam_options)
        dataset = records.open_dataset(unfinished, name)
        for file_name, text in builder.raw.extra_files().items():
            (dataset.directory / file_name).write_text(text, encoding="utf-8")
        content = report.make_report(dataset, builder, digests)
        _write_report(dataset, content)
        staging.finish(unfinished, dataset.directory, final)
    print(report.summary(content))
    print(f"\npacked to {final}; what was left out is listed in its {records.REPORT}")


def _resolve_settings(raw: RawDataset, settings: Settings) -> Settings:
    """Returns `settings` with the defaults of the data set. Raises UserError where one is out of bounds."""
    own = {name: getattr(raw, name) for name in ("max_skipped", "drop_untagged")}
    own = {name: default for name, default in own.items() if getattr(settings, name) is None}
    settings = dataclasses.replace(settings, **own)
    if settings.resize is not None and settings.resize < 1:
        raise UserError(f"expected a short side of at least 1 pixel to resize to, got {settings.resize}")
    if not 0 <= settings.max_skipped <= 1:
        raise UserError(
            f"expected a share of 0 to 1 of images that may be skipped, got {settings.max_skipped}"
        )
    return settings


def _write_report(dataset: records.Dataset, content: dict) -> None:
    """Writes report.json, and SHA256SUMS over all files of the data set."""
    text = json.dumps(content, ensure_ascii=False, indent=1)
    (dataset.directory / records.REPORT).write_text(text + "\n", encoding="utf-8")
    known = {
        path.name: digest
        for split, digests in content["checksums"].items()
        for path, digest in zip(dataset.builder.info.splits[split].filepaths, digests, strict=True)
    }
    checksums.write(dataset.directory, [path.name for path in dataset.directory.iterdir()], known)
