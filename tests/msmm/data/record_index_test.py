"""Random access to TFRecord files, against TensorFlow's own reader."""

import os

import numpy as np
import pytest
import tensorflow as tf

from msmm.data.record_index import RecordIndex

CONTENTS = [[b"one", b"", b"three" * 1000], [], [b"\0\0", b"last"]]


@pytest.fixture
def paths(tmp_path):
    paths = []
    for number, contents in enumerate(CONTENTS):
        paths.append(str(tmp_path / f"{number}.tfrecord"))
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for content in contents:
                writer.write(content)
    return paths


def test_records_are_read_by_number_in_the_order_given(paths):
    index = RecordIndex(paths, [3, 0, 2])
    all_records = [record.numpy() for record in tf.data.TFRecordDataset(paths)]
    for rows in ([0, 1, 2, 3, 4], [4, 0, 3, 0], [2], []):
        assert index.read(np.array(rows, int)) == [all_records[row] for row in rows]


def test_an_unexpected_number_of_records_is_an_error(paths):
    with pytest.raises(ValueError, match=r"2\.tfrecord has 2 records, expected 3"):
        RecordIndex(paths, [3, 0, 3])


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[8:]])
def test_a_damaged_record_file_is_an_error(paths, change):
    with open(paths[0], "rb") as file:
        data = file.read()
    with open(paths[0], "wb") as file:
        file.write(change(data))
    os.utime(paths[0], ns=(1, 1))
    with pytest.raises(ValueError, match=r"0\.tfrecord (ends within a record|has . records, expected 3)"):
        RecordIndex(paths, [3, 0, 2])


def test_a_record_file_changed_after_opening_is_an_error(paths):
    index = RecordIndex(paths, [3, 0, 2])
    with tf.io.TFRecordWriter(paths[0]) as writer:
        writer.write(b"a longer one")
    for row in range(3):
        with pytest.raises(ValueError, match=r"0\.tfrecord has changed since it was opened"):
            index.read(np.array([row]))
    assert index.read(np.array([4])) == [b"last"]
