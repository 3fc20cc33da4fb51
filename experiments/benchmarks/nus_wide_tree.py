"""Draws a raw NUS-WIDE in the official layout: zip files of lists, and stand-in photographs in folders.

Labels are the real ones where a folder has their zip files, drawn otherwise; tags are always drawn.
`write_tree` continues after an interruption: a zip file or a folder of photographs that exists is whole.
"""

import dataclasses
import io
import pathlib
import shutil
import zipfile
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image
from scipy import sparse

from experiments.benchmarks import nus_wide_rows
from msmm.core.errors import UserError
from msmm.core.files import atomic_directory, atomic_write, read_json, write_json
from msmm.core.progress import ProgressBar

PARTS = ("Train", "Test")
DRAWING = "drawing.json"  # what a folder holds
GROUP = 383  # photographs per folder; the official download has 704 folders
BODIES = 300  # different pictures, each of which many photographs share
MEDIAN_BYTES, SPREAD = 30 * 1024, 0.45  # of a photograph's size: log-normal, spread in nepers
SHARES = {"missing": 0.12, "notice": 0.03, "empty": 0.003, "page": 0.004, "truncated": 0.003}
NOTICE = b"GIF89a" + bytes(2_900)  # "photo unavailable" is a GIF under a .jpg name
PAGE = b"<!DOCTYPE html>\n<html><head><title>Photo not found</title></head></html>\n"
_LINES = 512  # of a matrix, written at a time


@dataclasses.dataclass(frozen=True)
class Tree:
    """A raw data set to draw.

    Attributes:
        labels, tags: sparse matrices by part, see `nus_wide_rows`.
        concepts: the names of the labels.
        seed: of photographs.
        official: the folder whose zip files of the ground truth are copied as they are; None: they are
            written.
    """

    labels: dict[str, sparse.csr_matrix]
    tags: dict[str, sparse.csr_matrix]
    concepts: tuple[str, ...]
    seed: int = 0
    official: pathlib.Path | None = None

    @property
    def num_rows(self) -> int:
        return sum(matrix.shape[0] for matrix in self.labels.values())


def draw_tree(
    rows: int, classes: int, tags: int, seed: int = 0, ground_truth: pathlib.Path | None = None
) -> Tree:
    """Draws the labels and tags of a tree.

    Args:
        rows: of both parts together.
        classes: number of labels, unless they are read.
        tags: number of tags.
        seed: of all that is drawn.
        ground_truth: the folder with the real labels; None: labels are drawn.
    """
    sizes = nus_wide_rows.split_rows(rows)
    rng = np.random.default_rng(seed)
    official = ground_truth if sizes == nus_wide_rows.OFFICIAL_ROWS else None
    if ground_truth:
        labels, concepts = nus_wide_rows.read_labels(ground_truth, sizes)
    else:
        labels = {part: nus_wide_rows.draw_labels(size, classes, rng) for part, size in sizes.items()}
        concepts = tuple(f"concept{i:04d}" for i in range(classes))
    drawn_tags = {part: nus_wide_rows.draw_tags(labels[part], tags, rng) for part in PARTS}
    return Tree(labels, drawn_tags, concepts, seed, official)


def write_tree(tree: Tree, folder: pathlib.Path) -> None:
    """Writes the zip files and the photographs that the folder does not have yet.

    Raises UserError where it has some of another drawing.
    """
    _check_drawing(tree, folder)
    names = image_names(tree)
    for name in ("ConceptsList.zip", "Groundtruth.zip"):
        if tree.official and not (folder / name).exists():
            with atomic_write(folder / name) as partial:
                shutil.copyfile(tree.official / name, partial)
    _write_zip(folder / "ConceptsList.zip", lambda: _concept_list(tree))
    _write_zip(folder / "ImageList.zip", lambda: _image_lists(names))
    _write_zip(folder / "Groundtruth.zip", lambda: _label_files(tree))
    _write_zip(folder / "NUS_WID_Tags.zip", lambda: _tag_files(tree))
    _write_photographs(tree, names, folder / "Flickr")


def _check_drawing(tree: Tree, folder: pathlib.Path) -> None:
    """Writes what the tree is into the folder. Raises UserError where it holds another."""
    drawing = {
        "rows": tree.num_rows,
        "labels": len(tree.concepts),
        "tags": tree.tags["Train"].shape[1],
        "seed": tree.seed,
        "official": tree.official is not None,
    }
    if not (folder / DRAWING).exists():
        write_json(folder / DRAWING, drawing)
    own = read_json(folder / DRAWING, f"delete {folder}, and draw again")
    if own != drawing:
        raise UserError(f"{folder} has a drawing of {own}, not of {drawing}: choose another folder")


def image_names(tree: Tree) -> dict[str, list[str]]:
    """Returns the path of every row's photograph, `group/0001_2124494179.jpg`, by part.

    Training and test rows share the groups, as in the official lists.
    """
    rng = np.random.default_rng((tree.seed, 0))
    order, names = rng.permutation(tree.num_rows), {}
    start = 0
    for part in PARTS:
        numbers = order[start : start + tree.labels[part].shape[0]].tolist()
        names[part] = [f"group{n // GROUP:03d}/{n % GROUP:04d}_{2 * 10**9 + 7919 * n}.jpg" for n in numbers]
        start += len(numbers)
    return names


def _write_zip(path: pathlib.Path, members: Callable[[], Iterable[tuple[str, Iterable[bytes]]]]) -> None:
    """Writes a zip file of (name, blocks of content), unless it exists."""
    if path.exists():
        return
    with atomic_write(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, True, 1) as file:
        for name, blocks in ProgressBar(members(), f"writing {path.name}", unit="files", where=path.parent):
            info = zipfile.ZipInfo(name, (2009, 7, 8, 0, 0, 0))  # one date, so that the bytes are the same
            info.compress_type = zipfile.ZIP_DEFLATED
            with file.open(info, "w", force_zip64=True) as member:
                for block in blocks:
                    member.write(block)


def _concept_list(tree: Tree):
    yield "Concepts81.txt", [_text(tree.concepts)]


def _image_lists(names: dict[str, list[str]]):
    for part, paths in names.items():
        yield f"{part}Imagelist.txt", [_text([path.replace("/", "\\") for path in paths], "\r\n")]


def _label_files(tree: Tree):
    columns = {part: tree.labels[part].tocsc() for part in PARTS}
    for number, concept in enumerate(tree.concepts):
        for part, matrix in columns.items():
            lines = np.full((matrix.shape[0], 2), (ord("0"), ord("\n")), np.uint8)
            lines[matrix.indices[matrix.indptr[number] : matrix.indptr[number + 1]], 0] = ord("1")
            yield f"TrainTestLabels/Labels_{concept}_{part}.txt", [lines.tobytes()]


def _tag_files(tree: Tree):
    width = tree.tags["Train"].shape[1]
    yield "TagList1k.txt", [_text([f"tag{i:05d}" for i in range(width)])]
    for part in PARTS:
        yield f"{part}_Tags1k.dat", _dense_lines(tree.tags[part])


def _dense_lines(matrix: sparse.csr_matrix) -> Iterable[bytes]:
    """Yields the lines of a matrix: zeros and ones with tabs between, as in the official files."""
    for start in range(0, matrix.shape[0], _LINES):
        present = matrix[start : start + _LINES].toarray()
        block = np.full((len(present), 2 * present.shape[1]), ord("\t"), np.uint8)
        block[:, :-1:2], block[:, -1] = ord("0") + present, ord("\n")
        yield block.tobytes()


def _text(lines: Iterable[str], end: str = "\n") -> bytes:
    return "".join(line + end for line in lines).encode()


def _write_photographs(tree: Tree, names: dict[str, list[str]], folder: pathlib.Path) -> None:
    """Writes every group that does not exist, complete or not at all."""
    rng = np.random.default_rng((tree.seed, 1))
    paths = sorted(path for part in PARTS for path in names[part])
    kinds = rng.choice(len(SHARES) + 1, len(paths), p=[*SHARES.values(), 1 - sum(SHARES.values())])
    chosen = rng.integers(BODIES, size=len(paths))
    bodies, kind_names = draw_photographs(BODIES, tree.seed), [*SHARES, "whole"]
    groups: dict[str, list[tuple[str, str, int]]] = {}
    for path, kind, number in zip(paths, kinds.tolist(), chosen.tolist(), strict=True):
        group, _, name = path.partition("/")
        groups.setdefault(group, []).append((name, kind_names[kind], number))
    folder.mkdir(exist_ok=True)
    with ProgressBar(description="writing photographs", total=len(paths), unit="files", where=folder) as bar:
        for group, members in groups.items():
            if not (folder / group).exists():
                with atomic_directory(folder / group, replace=False) as partial:
                    for name, kind, number in members:
                        if (content := photograph(kind, name, bodies[number])) is not None:
                            (partial / name).write_bytes(content)
            bar.update(len(members))


def photograph(kind: str, name: str, body: bytes) -> bytes | None:
    """Returns the bytes of a file; None where it is missing. No two whole photographs are equal.

    kind: one of `SHARES`, or "whole".
    """
    comment = name.encode()
    whole = body[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + body[2:]
    contents = {"missing": None, "notice": NOTICE, "empty": b"", "page": PAGE}
    return {**contents, "truncated": whole[: len(whole) // 2]}.get(kind, whole)


def draw_photographs(count: int, seed: int) -> list[bytes]:
    """Draws JPEG files of landscape and portrait format whose sizes are log-normal around 30 KB."""
    rng, files = np.random.default_rng((seed, 2)), []
    for target in MEDIAN_BYTES * np.exp(SPREAD * rng.standard_normal(count)):
        ratio = (4 / 3, 3 / 2, 3 / 4)[rng.choice(3, p=(0.5, 0.25, 0.25))]
        octaves = [rng.random((2**i, 2**i, 3), np.float32) for i in range(2, 8)]
        area = 300.0 * 225
        for _ in range(2):  # bytes grow with the area: the second picture has about the size wanted
            width, height = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            content = _jpeg(octaves, width, height)
            area = float(np.clip(area * target / len(content), 100 * 75, 1200 * 900))
        files.append(content)
    return files


def _jpeg(octaves: list[np.ndarray], width: int, height: int) -> bytes:
    """Returns a picture of noise with details of every size, the finer the weaker, as photographs have."""
    total = np.zeros((height, width, 3), np.float32)
    for i, octave in enumerate(octaves):
        picture = Image.fromarray((255 * octave).astype(np.uint8)).resize((width, height), Image.BILINEAR)
        total += np.asarray(picture, np.float32) * 0.7**i
    total = (total - total.mean()) * (60 / total.std()) + 120
    file = io.BytesIO()
    Image.fromarray(np.clip(total, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=88)
    return file.getvalue()
