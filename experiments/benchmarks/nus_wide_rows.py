"""Labels and tags of a stand-in NUS-WIDE: the real labels or drawn ones, and tags by Zipf's law.

All are sparse matrices bool [N, width], compressed by rows, one for each official part ("Train", "Test").
"""

import pathlib

import numpy as np
from scipy import sparse

OFFICIAL_ROWS = {"Train": 161_789, "Test": 107_859}
UNLABELLED = 0.22  # share of the official rows that have none of the 81 labels
LABELS_PER_IMAGE = 2.4  # of the other rows
TAGS_PER_IMAGE = 7.0  # of the 1,000 tags
RELATED = 0.5  # share of the tags that come from one of the image's labels


def split_rows(rows: int) -> dict[str, int]:
    """Returns the numbers of training and test rows, in the official proportion."""
    train = round(rows * OFFICIAL_ROWS["Train"] / sum(OFFICIAL_ROWS.values()))
    return {"Train": train, "Test": rows - train}


def read_labels(
    folder: pathlib.Path, sizes: dict[str, int]
) -> tuple[dict[str, sparse.csr_matrix], tuple[str, ...]]:
    """Returns the labels of the first `sizes` official rows by part, and the names of the labels.

    folder: has Groundtruth.zip and ConceptsList.zip.
    """
    from tfrecords_tools.raw import matrix_file, raw_files

    files = raw_files.RawFiles(folder, ())
    concepts = tuple(line.strip() for line in files.text("Concepts81.txt").splitlines() if line.strip())
    labels = {}
    for part, size in sizes.items():
        columns = []
        for concept in concepts:
            name = f"Labels_{concept}_{part}.txt"
            with files.open(name) as file:
                columns.append(matrix_file.unpack(matrix_file.read(file, name, 1)[0][:size], 1))
        labels[part] = sparse.csr_matrix(np.concatenate(columns, axis=1))
    return labels, concepts


def draw_labels(size: int, classes: int, rng: np.random.Generator) -> sparse.csr_matrix:
    """Draws labels whose frequencies fall by Zipf's law; a share of the images has none."""
    quantities = 1 + rng.poisson(LABELS_PER_IMAGE - 1, size)
    quantities[rng.random(size) < UNLABELLED] = 0
    return _rows(quantities, _zipf(classes, quantities.sum(), rng), classes)


def draw_tags(labels: sparse.csr_matrix, tags: int, rng: np.random.Generator) -> sparse.csr_matrix:
    """Draws tags whose frequencies fall by Zipf's law; half of them belong to one of the image's labels.

    The tags of class c are c, c + C, c + 2 C, …, the first the most frequent.
    """
    size, classes = labels.shape
    quantities = rng.poisson(TAGS_PER_IMAGE, size)
    drawn = _zipf(tags, quantities.sum(), rng)
    images = np.repeat(np.arange(size), quantities)
    first, count = labels.indptr[:-1], np.diff(labels.indptr)
    related = np.flatnonzero((rng.random(len(drawn)) < RELATED) & (count[images] > 0))
    images = images[related]
    label = labels.indices[first[images] + rng.integers(count[images])]
    tag = label + classes * _zipf(max(1, tags // classes), len(related), rng)
    drawn[related] = np.where(tag < tags, tag, drawn[related])
    return _rows(quantities, drawn, tags)


def _zipf(width: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draws numbers below `width`, number i with a probability proportional to 1 / (i + 2): int64 [size]."""
    ends = np.cumsum(1 / np.arange(2, width + 2))
    return np.minimum(np.searchsorted(ends, rng.random(int(size)) * ends[-1], "right"), width - 1)


def _rows(quantities: np.ndarray, concepts: np.ndarray, width: int) -> sparse.csr_matrix:
    """Returns rows from the number of concepts of each, int [N], and all concepts; repeats count once."""
    ends = np.concatenate([[0], np.cumsum(quantities)])
    matrix = sparse.csr_matrix((np.ones(len(concepts), bool), concepts, ends), (len(quantities), width))
    matrix.sum_duplicates()
    return matrix
