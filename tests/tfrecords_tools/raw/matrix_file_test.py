"""The reader of 0/1 matrix files, compared with the written values."""

import io

import numpy as np
import pytest

from msmm.core.errors import UserError
from tfrecords_tools.raw import matrix_file


def read(text, columns):
    packed, oddities = matrix_file.read(io.BytesIO(text.encode()), "f.dat", columns)
    return matrix_file.unpack(packed, columns).astype(int).tolist(), oddities


@pytest.mark.parametrize("separator", ["\t", " ", "  "])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\t\n", " \r\n"])
def test_matrix_is_read_with_any_separator_and_line_end(separator, line_end):
    rows = [[0, 1, 1], [1, 0, 0]]
    text = "".join(separator.join(map(str, row)) + line_end for row in rows)
    assert read(text, 3) == (rows, [])
    assert read(text.rstrip(), 3) == (rows, [])  # no line end after the last


@pytest.mark.parametrize("block", [1, 7, 1000, 1 << 22])
@pytest.mark.parametrize("columns", [1, 8, 13])
def test_block_size_does_not_change_the_matrix(monkeypatch, block, columns):
    monkeypatch.setattr(matrix_file, "BLOCK", block)
    rows = np.random.default_rng(columns).integers(0, 2, (57, columns)).tolist()
    text = "".join("\t".join(map(str, row)) + "\t\n" for row in rows)
    assert read(text, columns) == (rows, [])


def test_blank_lines_are_not_rows():
    assert read("1\n\n0\n\r\n", 1) == ([[1], [0]], [])
    assert read("", 5) == ([], [])


def test_odd_values_are_read_as_zero_and_reported():
    assert read("0\n-1130179\n1\n", 1) == ([[0], [0], [1]], ["f.dat:2 has -1130179, read as 0"])
    assert read("0 1\n1 01\n2 1\n", 2) == (
        [[0, 1], [1, 0], [0, 1]],
        ["f.dat:2, column 2, has 01, read as 0", "f.dat:3, column 1, has 2, read as 0"],
    )


def test_odd_values_after_the_first_block_are_reported_with_their_line(monkeypatch):
    monkeypatch.setattr(matrix_file, "BLOCK", 10)
    values, oddities = read("1\n" * 30 + "x\n" + "1\n" * 30, 1)
    assert values == [[1]] * 30 + [[0]] + [[1]] * 30
    assert oddities == ["f.dat:31 has x, read as 0"]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("0 1\n0 1 1\n", 2, "f.dat:2: expected 2 values of 0 or 1 in the line, got 3"),
        ("0 1\n\n0\n", 2, "f.dat:3: expected 2 values of 0 or 1 in the line, got 1"),
        ("0 1\n0 x 1\n", 2, "f.dat:2: expected 2 values of 0 or 1 in the line, got 3"),
        ("0101\n", 4, "f.dat:1: expected 4 values of 0 or 1 in the line, got 1"),
        ("5\n" * 20, 1, "f.dat:1 has 5, and 10 or more others are like it: expected zeros and ones"),
        ("<html>\n", 3, "f.dat:1: expected 3 values of 0 or 1 in the line, got 1"),
    ],
)
def test_files_that_are_not_matrices_are_refused(text, columns, message):
    with pytest.raises(UserError) as failure:
        read(text, columns)
    assert str(failure.value) == message
