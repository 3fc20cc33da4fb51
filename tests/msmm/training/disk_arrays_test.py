"""Rows of arrays on disk, read one by one, and batches that are read ahead."""

import threading

import numpy as np
import pytest

from msmm.training.disk_arrays import DiskRows, read_ahead


@pytest.fixture
def array(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 3, 4)).astype(np.float16)
    np.save(tmp_path / "a.npy", values)
    return values, np.load(tmp_path / "a.npy", mmap_mode="r")


@pytest.mark.parametrize(
    "rows", [np.array([7, 0, 49, 7]), np.array([-1]), np.array([], int), slice(3, 9), np.arange(50) % 3 == 0]
)
def test_rows_equal_those_of_a_memory_map(array, rows):
    values, mapped = array
    taken = DiskRows(mapped)[rows]
    assert taken.dtype == np.float16
    np.testing.assert_array_equal(taken, values[rows])


def test_a_row_beyond_the_last_is_an_error(array):
    with pytest.raises(IndexError):
        DiskRows(array[1])[np.array([50])]


def test_a_file_that_became_shorter_is_an_error(array):
    rows = DiskRows(array[1])
    with open(array[1].filename, "r+b") as file:
        file.truncate(array[1].offset + 10 * rows[:1].nbytes)
    np.testing.assert_array_equal(rows[:10], array[0][:10])
    with pytest.raises(OSError, match=r"of row 10 in .*a\.npy. Received: 0"):
        rows[5:20]


def test_reading_ahead_keeps_the_order_and_is_one_item_ahead():
    computed, first_taken = [], threading.Event()

    def items():
        for i in range(5):
            if i == 2:
                assert first_taken.wait(10)  # an eager reader would compute all five at once
            computed.append(i)
            yield i

    reader = read_ahead(items())
    assert next(reader) == 0
    first_taken.set()
    assert list(reader) == [1, 2, 3, 4] and computed == [0, 1, 2, 3, 4]


def test_an_error_while_reading_ahead_reaches_the_caller():
    def items():
        yield 1
        raise ValueError("bad row")

    reader = read_ahead(items())
    assert next(reader) == 1
    with pytest.raises(ValueError, match="bad row"):
        next(reader)
