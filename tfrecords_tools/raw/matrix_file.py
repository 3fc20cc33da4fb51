"""Text files of zeros and ones, one row per line: the labels and the tags of NUS-WIDE.

Spaces or tabs separate columns, and may follow the last one. Lines end as on Unix or Windows; blank lines are
skipped. Reading takes a second for 100 million values.
"""

import io
from collections.abc import Iterator

import numpy as np

from msmm.core.errors import UserError

BLOCK = 1 << 22  # bytes read at a time
MOST_ODD = 10  # values per file that may be neither 0 nor 1

# The kind of a byte: a separator, the end of a line, one of the two digits, or something else.
SEPARATOR, LINE_END, ZERO, ONE, OTHER = range(5)
KIND = np.full(256, OTHER, np.uint8)
KIND[list(b" \t\r")], KIND[ord("\n")], KIND[ord("0")], KIND[ord("1")] = SEPARATOR, LINE_END, ZERO, ONE


def read(stream: io.BufferedIOBase, where: str, columns: int) -> tuple[np.ndarray, list[str]]:
    """Reads all rows of a file.

    Args:
        stream: the file.
        where: its name in messages.
        columns: the number of values per row.

    Returns:
        The rows uint8 [N, ceil(columns / 8)], eight values per byte as by `np.packbits`, and a sentence on
        every value that is neither 0 nor 1; it is read as 0.

    Raises:
        UserError: a row has another number of values, or too many values are odd.
    """
    packed, odd, line = [np.zeros((0, (columns + 7) // 8), np.uint8)], [], 1
    for block in _lines(stream):
        values = _values(np.frombuffer(block, np.uint8), where, line, columns)
        if values is None:
            values = _odd_values(block, where, line, columns, odd)
        packed.append(np.packbits(values, axis=1))
        line += block.count(b"\n")
    return np.concatenate(packed), odd


def unpack(packed: np.ndarray, columns: int) -> np.ndarray:
    """Returns the values of rows of `read`: uint8 [..., ceil(columns / 8)] to bool [..., columns]."""
    return np.unpackbits(packed, axis=-1, count=columns).view(bool)


def _lines(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """Yields the file in blocks of whole lines, each with its line end."""
    rest = b""
    while block := stream.read(BLOCK):
        whole, end, after = block.rpartition(b"\n")
        if end:
            yield rest + whole + end
            rest = after
        else:
            rest += block
    if rest:
        yield rest + b"\n"


def _values(characters: np.ndarray, where: str, line: int, columns: int) -> np.ndarray | None:
    """Returns whole lines as bool [rows, columns], or None where a value is neither 0 nor 1."""
    kinds = KIND[characters]
    digits = (kinds == ZERO) | (kinds == ONE)
    if kinds.max() == OTHER or (digits[1:] & digits[:-1]).any():
        return None
    ends = np.flatnonzero(kinds == LINE_END)
    starts = np.concatenate([[0], ends[:-1] + 1])
    widths = np.add.reduceat(digits, starts, dtype=np.int64)
    wrong = np.flatnonzero((widths != columns) & (widths != 0))
    if len(wrong):
        raise _wrong_width(where, line + wrong[0], columns, widths[wrong[0]])
    return (kinds[digits] == ONE).reshape(-1, columns)


def _odd_values(block: bytes, where: str, line: int, columns: int, odd: list[str]) -> np.ndarray:
    """Returns a block with odd values as `_values` does; adds a sentence on each to `odd`."""
    rows = []
    for number, text in enumerate(block.split(b"\n")[:-1], line):
        values = text.split()
        if values and len(values) != columns:
            raise _wrong_width(where, number, columns, len(values))
        if values:
            rows.append([value == b"1" for value in values])
        for column, value in enumerate(values, 1):
            if value not in (b"0", b"1"):
                shown = value[:20].decode(errors="replace")
                place = f"{where}:{number}" + (f", column {column}," if columns > 1 else "")
                odd.append(f"{place} has {shown}, read as 0")
                if len(odd) > MOST_ODD:
                    raise UserError(
                        f"{odd[0].removesuffix(', read as 0')}, and {MOST_ODD} or more others are like it: "
                        "expected zeros and ones"
                    )
    return np.array(rows, bool).reshape(-1, columns)


def _wrong_width(where: str, line: int, columns: int, received: int) -> UserError:
    return UserError(f"{where}:{line}: expected {columns:,} values of 0 or 1 in the line, got {received:,}")
