"""Seeded damage to files, as disks, networks and copying errors cause it."""

import contextlib
import random
import signal
from collections.abc import Iterator


def mutations(data: bytes, count: int, seed: str, other: bytes | None = None) -> Iterator[tuple[str, bytes]]:
    """Yields `count` pairs (description, damaged bytes); the bytes always differ from `data`.

    The first mutations are one of each kind, including an empty and a swapped file. The rest are drawn.

    Args:
      data: content of the file.
      count: number of mutations.
      seed: seeds the random choices.
      other: content of the same file in another run, which replaces `data` once.
    """
    rng = random.Random(seed)
    kinds = [_flip, _cut, _empty, _byte, _zeros, _insert, _repeat]
    swapped = [("swapped with another run's", other)] if other not in (None, data) else []
    made = 0
    while made < count:
        if swapped and made == 1:
            yield swapped[0]
        else:
            index = made - bool(swapped and made > 1)
            kind = kinds[index] if index < len(kinds) else rng.choice([_flip, _byte, _flip, _cut, *kinds[4:]])
            change, after = kind(data, rng)
            if after == data:
                change, after = _flip(data, rng) if data else _insert(data, rng)
            yield change, after
        made += 1


def _flip(data, rng):
    if not data:
        return _insert(data, rng)
    at, bit = rng.randrange(len(data)), rng.randrange(8)
    return f"bit {bit} of byte {at} flipped", data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def _byte(data, rng):
    at, value = rng.randrange(len(data) or 1), rng.randrange(256)
    return f"byte {at} set to {value}", data[:at] + bytes([value]) + data[at + 1 :]


def _cut(data, rng):
    at = rng.randrange(len(data) or 1)
    return f"cut at byte {at} of {len(data)}", data[:at]


def _empty(data, rng):
    return "emptied", b""


def _zeros(data, rng):
    at, size = rng.randrange(len(data) or 1), rng.choice([4, 64, 512])
    size = min(size, len(data) - at)
    return f"{size} zeros at byte {at}", data[:at] + bytes(size) + data[at + size :]


def _insert(data, rng):
    at, more = rng.randrange(len(data) + 1), rng.randbytes(rng.choice([1, 3, 40]))
    return f"{more[:8]!r}… inserted at byte {at}", data[:at] + more + data[at:]


def _repeat(data, rng):
    at = rng.randrange(len(data) or 1)
    end = min(len(data), at + rng.choice([1, 16, 200]))
    return f"bytes {at} to {end} repeated", data[:end] + data[at:]


@contextlib.contextmanager
def time_limit(seconds: float):
    """Raises TimeoutError in a block that takes longer, once Python handles the signal."""

    def raise_timeout(*_):
        raise TimeoutError(f"took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
