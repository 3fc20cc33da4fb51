"""The photographs of MSCOCO with their objects and captions, from the official files or from TFDS."""

import collections
import contextlib
import dataclasses
import io
import json
import pathlib
from collections.abc import Iterator

from msmm.core.errors import UserError
from tfrecords_tools.raw import raw_files

YEARS = ("2014", "2017")
SPLITS = {"train": "train", "test": "val"}
PAGE = "https://cocodataset.org/#download"
TFDS_SPLITS = {"train": ("train",), "test": ("val", "test", "restval")}  # Karpathy's three are val2014
# The keys of the official JSON that are kept; others, mostly outlines, are dropped while it is read.
KEYS = {"images", "annotations", "categories", "id", "file_name", "name",
        "image_id", "category_id", "iscrowd", "caption"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Photograph:
    """One image: the file name as id, the file or its bytes, the names of its objects, its captions."""

    id: str
    image: bytes | pathlib.Path
    labels: tuple[str, ...]
    captions: tuple[str, ...]


class FromFiles:
    """The official files of one year, in folders or zip files."""

    def __init__(self, raw_dir: str | pathlib.Path, year: str | None, crowds: bool):
        folders = tuple(f"{part}{y}" for y in YEARS for part in SPLITS.values())
        self._files = raw_files.RawFiles(raw_dir, folders)
        year = self._year(year)
        self.description = f"MSCOCO {year}, official files"
        self.labels, self._images, self._objects, self._captions = (), {}, {}, {}
        for split, part in SPLITS.items():
            self._read_split(split, f"{part}{year}", crowds)
        self.num_rows = {split: len(images) for split, images in self._images.items()}

    def captions(self, split: str) -> Iterator[list[str]]:
        """Yields the captions of every image of `split`."""
        return (self._captions[split][image_id] for image_id in self._images[split])

    def photographs(self, split: str) -> Iterator[Photograph]:
        """Yields every image of `split`, in the order of the files."""
        for image_id, (folder, name) in self._images[split].items():
            labels = tuple(self.labels[i] for i in sorted(self._objects[split][image_id]))
            captions = tuple(self._captions[split][image_id])
            yield Photograph(name, self._files.image(f"{folder}/{name}"), labels, captions)

    def _year(self, wanted: str | None) -> str:
        needed = {
            y: [f"{kind}_{part}{y}.json" for part in SPLITS.values() for kind in ("instances", "captions")]
            for y in YEARS
        }
        years = [y for y in YEARS if set(needed[y]) & self._files.names]
        if wanted is None and len(years) != 1:
            present = "both years: choose --year=2014 or 2017" if years else f"none: get them at {PAGE}"
            raise UserError(
                f"expected instances_*.json and captions_*.json in {self._files.directory}, found {present}"
            )
        year = wanted or years[0]
        missing = [name for name in needed[year] if name not in self._files.names]
        if missing:
            others = f"; there are files of {years[0]}" if years and year not in years else ""
            raise UserError(
                f"{self._files.directory} has no {', '.join(missing)}{others}: get the annotations of {year} "
                f"at {PAGE}"
            )
        for part in SPLITS.values():
            if not self._files.has_images(f"{part}{year}"):
                raise UserError(
                    f"{self._files.directory} has no photographs {part}{year}/, in a zip file neither: "
                    f"get them at {PAGE}, or choose another --year"
                )
        return year

    def _read_split(self, split: str, part: str, crowds: bool) -> None:
        instances, captions = f"instances_{part}.json", f"captions_{part}.json"
        content = self._load(instances, ("images", "annotations", "categories"))
        with self._explained(instances):
            categories = {c["id"]: c["name"] for c in sorted(content["categories"], key=lambda c: c["id"])}
            self._images[split] = {i["id"]: (part, i["file_name"]) for i in content["images"]}
            class_ids = {category_id: index for index, category_id in enumerate(categories)}
            objects = {image_id: set() for image_id in self._images[split]}
            for a in content["annotations"]:
                if crowds or not a["iscrowd"]:
                    objects[a["image_id"]].add(class_ids[a["category_id"]])
        names = tuple(categories.values())
        if len(set(names)) != len(names) or (self.labels and self.labels != names):
            raise UserError(f"{self._files.where(instances)} names other categories than the training split")
        self.labels, self._objects[split] = names, objects
        content = self._load(captions, ("annotations",))
        self._captions[split] = collections.defaultdict(list)
        with self._explained(captions):
            for a in content["annotations"]:
                if a["image_id"] not in objects:
                    raise UserError(
                        f"{self._files.where(captions)} is about image {a['image_id']}; {instances} has none"
                    )
                self._captions[split][a["image_id"]].append(str(a["caption"]))

    def _load(self, name: str, needed: tuple[str, ...]) -> dict:
        """Returns the content of a JSON file, with the keys of KEYS only."""
        try:
            with self._files.open(name) as file:
                text = io.TextIOWrapper(file, encoding="utf-8-sig")
                content = json.load(text, object_hook=lambda d: {k: d[k] for k in KEYS & d.keys()})
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self._files.where(name)} is broken ({error}): download it again") from None
        for key in needed:
            if not isinstance(content, dict) or not isinstance(content.get(key), list):
                raise UserError(f"{self._files.where(name)} has no list of {key}: expected the official file")
        return content

    @contextlib.contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        """Turns the error of an entry that differs from the official files into a UserError."""
        try:
            yield
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{self._files.where(name)} is not as the official file: an entry has no {error}, or names "
                "something unknown"
            ) from None


class FromTfds:
    """`coco_captions` of TensorFlow Datasets: the official files of 2014, downloaded by TFDS."""

    def __init__(self, data_dir: str | pathlib.Path | None, year: str | None, crowds: bool):
        from msmm.data.tfds import tfds

        if year not in (None, "2014"):
            raise UserError(f"expected --year=2014 with --source=tfds, which has no other, got {year}")
        self._builder = tfds.builder("coco_captions/2014", data_dir=data_dir)
        try:
            self._builder.download_and_prepare()
        except Exception as error:  # network, disk, TFDS: it raises many types
            raise UserError(
                f"TFDS could not make coco_captions ({type(error).__name__}: {error}): try again, or get "
                f"MSCOCO at {PAGE} and give its folder as --raw_dir"
            ) from error
        info = self._builder.info
        self.description = f"MSCOCO 2014, {info.full_name} of TFDS"
        self.labels = tuple(info.features["objects"]["label"].names)
        self.num_rows = {
            split: sum(info.splits[part].num_examples for part in parts)
            for split, parts in TFDS_SPLITS.items()
        }
        self._crowds = crowds

    def captions(self, split: str) -> Iterator[list[str]]:
        """Yields the captions of every image of `split`."""
        for example in self._read(split, ("captions",)):
            yield _texts(example)

    def photographs(self, split: str) -> Iterator[Photograph]:
        """Yields every image of `split`, in the order of the files of TFDS."""
        for example in self._read(split, ("image", "image/filename", "objects", "captions")):
            objects = example["objects"]
            ids = objects["label"] if self._crowds else objects["label"][~objects["is_crowd"]]
            labels = tuple(self.labels[i] for i in sorted(set(ids.tolist())))
            name = example["image/filename"].decode()
            yield Photograph(name, example["image"], labels, tuple(_texts(example)))

    def _read(self, split: str, wanted: tuple[str, ...]) -> Iterator[dict]:
        from msmm.data.tfds import tfds

        # One file after the other, so that the order is the files' own.
        config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
        decoding = {"image": tfds.decode.SkipDecoding()} if "image" in wanted else None
        decoders = tfds.decode.PartialDecoding(dict.fromkeys(wanted, True), decoders=decoding)
        for part in TFDS_SPLITS[split]:
            dataset = self._builder.as_dataset(split=part, decoders=decoders, read_config=config)
            yield from dataset.as_numpy_iterator()


def _texts(example: dict) -> list[str]:
    return [text.decode() for text in example["captions"]["text"]]
