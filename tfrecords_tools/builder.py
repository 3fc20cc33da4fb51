"""The base of every builder: rows of a raw data set in, TFRecords and a report out.

A raw data set is a subclass of `Builder` that sets its vocabularies and how many rows each
split has, and yields `Row`s. Checking images, writing, counting and finishing are done here.
"""

import collections
import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator

import tensorflow_datasets as tfds
import tqdm

from msmm import records
from msmm.errors import UserError
from tfrecords_tools import images, report

VERSION = "1.0.0"


@dataclasses.dataclass(frozen=True)
class Row:
    """One image of a raw data set.

    id: unique in the data set. image: the file, or its bytes. labels, tags: names; those
    outside of the vocabularies are left out and counted.
    """

    id: str
    image: bytes | pathlib.Path
    labels: tuple[str, ...]
    tags: tuple[str, ...]


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
    num_rows: dict[str, int]

    def __init__(
        self,
        *,
        name: str,
        data_dir: pathlib.Path,
        resize: int | None = None,
        max_skipped: float = 0.05,
        drop_untagged: bool = False,
    ):
        """
        resize: scale larger images down to this short side, in pixels; None keeps the files.
        max_skipped: the share of all rows (0 … 1) whose images may be broken.
        drop_untagged: leave out images without a tag of the vocabulary.
        """
        if resize is not None and resize < 1:
            raise UserError(f"expected a short side of at least 1 pixel to resize to, got {resize}")
        if not 0 <= max_skipped <= 1:
            raise UserError(f"expected a share of 0 to 1 of images that may be skipped, got {max_skipped}")
        self.name = name
        self.resize, self.max_skipped, self.drop_untagged = resize, max_skipped, drop_untagged
        self.dropped = {split: collections.defaultdict(list) for split in self.num_rows}
        self.outside = {
            split: {"labels": collections.Counter(), "tags": collections.Counter()} for split in self.num_rows
        }
        self._seen = set()
        super().__init__(data_dir=data_dir)

    def rows(self, split: str) -> Iterable[Row]:
        """The rows of `split`, `num_rows[split]` of them, always in the same order."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Writes the records to `data_dir`; UserError if too many images are broken."""
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        tfds.disable_progress_bar()
        total = sum(self.num_rows.values())
        try:
            with tqdm.tqdm(
                total=total, desc=f"packing {self.name}", unit=" images", disable=None
            ) as self._bar:
                self.download_and_prepare(download_config=config)
        except RuntimeError as error:  # what TFDS makes of TensorFlow's errors
            if "No space left on device" not in str(error):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.data_dir) from None
        finally:
            tfds.enable_progress_bar()
        broken = collections.Counter()
        for causes in self.dropped.values():
            broken.update({c: len(ids) for c, ids in causes.items() if c not in report.FILTERS})
        if broken.total() > self.max_skipped * total:
            raise UserError(
                f"{broken.total()} of {total} images are broken ({report.in_words(broken)}), more than the "
                f"share of {self.max_skipped:g} that may be skipped: mend them or raise --max_skipped"
            )

    def _info(self) -> tfds.core.DatasetInfo:
        features = records.features(self.labels, self.tags)
        return _Info(builder=self, description=self.description, features=features)

    def _split_generators(self, dl_manager):
        label_ids = {name: index for index, name in enumerate(self.labels)}
        tag_ids = {name: index for index, name in enumerate(self.tags)}
        return {split: self._generate_examples(split, label_ids, tag_ids) for split in self.num_rows}

    def _generate_examples(self, split, label_ids, tag_ids):
        kept = 0
        for row in self.rows(split):
            self._bar.update()
            if row.id in self._seen:
                raise UserError(f"expected every image id once, got {row.id!r} again")
            self._seen.add(row.id)
            labels = self._known(row.labels, label_ids, self.outside[split]["labels"])
            tags = self._known(row.tags, tag_ids, self.outside[split]["tags"])
            cause = None
            if not labels:
                cause = report.NO_LABEL
            elif self.drop_untagged and not tags:
                cause = report.NO_TAG
            else:
                try:
                    image = images.to_jpeg(row.image, self.resize)
                except images.BrokenImage as error:
                    cause = str(error)
            if cause:
                self.dropped[split][cause].append(row.id)
                continue
            kept += 1
            # Bytes as the key: of text, TFDS would take a\b and a/b for the same.
            yield (
                row.id.encode(),
                {records.IMAGE: image, records.TAGS: tags, records.LABELS: labels, records.IMAGE_ID: row.id},
            )
        if not kept:
            causes = {cause: len(ids) for cause, ids in self.dropped[split].items()}
            raise UserError(
                f"no image of the {split} split is left of {self.num_rows[split]} rows "
                f"({report.in_words(causes) or 'there are none'}): mend them, or check the filters"
            )

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
    **arguments,
) -> None:
    """Packs a raw data set to `<data_dir>/<name>/1.0.0/`, writes its report and prints a summary.

    A finished data set is left alone unless `overwrite`; nothing of an unfinished one stays,
    and the old one stays until the new one is complete. `arguments` go to `builder_class`.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UserError(
            f"expected a data set name of letters, digits and underscores, a letter first, got {name!r}: "
            "choose one with --name"
        )
    data_dir = pathlib.Path(data_dir)
    final = data_dir / name / VERSION
    if final.exists() and not overwrite:
        print(f"{final} is there already; --overwrite packs it again")
        return
    with _staging(data_dir) as staging:
        builder = builder_class(name=name, data_dir=staging, **arguments)
        builder.prepare()
        dataset = records.open_dataset(staging, name)
        content = report.report(dataset, builder, arguments)
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (dataset.directory / records.REPORT).write_text(text + "\n", encoding="utf-8")
        _replace(final, dataset.directory, staging / "replaced")
    print(report.summary(content))
    print(f"\npacked to {final}; what was left out is listed in its {records.REPORT}")


@contextlib.contextmanager
def _staging(data_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder in `data_dir` for what is not finished; nothing of it stays, whatever happens."""
    fresh = [path for path in (data_dir, *data_dir.parents) if not path.exists()]
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"expected a folder to pack to, {data_dir} is a file: choose another --data_dir"
        ) from None
    staging = pathlib.Path(tempfile.mkdtemp(prefix="incomplete.", dir=data_dir))
    try:
        yield staging
    finally:
        shutil.rmtree(staging)
        for path in fresh:
            if not any(path.iterdir()):
                path.rmdir()


def _replace(final: pathlib.Path, finished: pathlib.Path, aside: pathlib.Path) -> None:
    """Puts the folder `finished` in the place of `final`, which is moved to `aside` if it is there."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if not final.exists():
        finished.rename(final)
        return
    final.rename(aside)
    try:
        finished.rename(final)
    except BaseException:
        aside.rename(final)
        raise
