"""Work on many images at once, in processes of their own. Nothing here imports TensorFlow."""

import collections
import concurrent.futures
import contextlib
import itertools
import os
import pickle
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from msmm.core.errors import UserError

PATIENCE = 0.4  # seconds of work that are done here first: about what it takes to start processes
BATCH = 8  # items that a process is given at once
AHEAD = 2  # batches a process that are under way: what bounds the memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A context in which `map` shares work among `count` processes, by default one a core."""

    def __init__(self, count: int | None = None):
        if count is not None and count < 1:
            raise UserError(f"expected 1 or more worker processes, got {count}")
        self._count = count or cores()
        self._spent = 0.0
        self._processes: list[_Process] = []
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._threads = None  # one a process, to feed it and to wait for it

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *failure) -> None:
        for process in self._processes:
            process.kill()
        if self._threads:
            self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    def map(
        self, function: Callable[..., Result], items: Iterable[tuple[Item, Any]], *arguments
    ) -> Iterator[tuple[Item, Result]]:
        """Yields (item, function(value, *arguments)) for every (item, value), in their order.

        function: one of a module's, that imports no more than it needs; it, the values, the
        arguments and the results are pickled. Raises UserError if a process ends too soon.
        """
        items = iter(items)
        for item, value in items:
            start = time.perf_counter()
            result = function(value, *arguments)
            self._spent += time.perf_counter() - start
            yield item, result
            if self._count > 1 and self._spent > PATIENCE:
                break
        under_way = collections.deque()
        while batch := list(itertools.islice(items, BATCH)):
            values = [value for _, value in batch]
            under_way.append((batch, self._submit(function, values, arguments)))
            if len(under_way) > AHEAD * self._count:
                yield from _results(*under_way.popleft())
        for batch, future in under_way:
            yield from _results(batch, future)

    def _submit(self, *work) -> concurrent.futures.Future:
        if not self._threads:
            self._threads = concurrent.futures.ThreadPoolExecutor(self._count)
            for _ in range(self._count):
                self._processes.append(_Process())
                self._idle.put(self._processes[-1])
        return self._threads.submit(self._run, work)

    def _run(self, work: tuple) -> list:
        process = self._idle.get()
        try:
            return process.run(work)
        finally:
            self._idle.put(process)


class _Process:
    """A fresh Python process that works on request until its standard input ends.

    So it does not outlive a packer that is killed; and unlike one of `multiprocessing`, it
    does not run the packer's main script again.
    """

    def __init__(self):
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the packer
        )

    def run(self, work: tuple) -> list:
        try:
            pickle.dump(work, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            raise UserError(
                f"a worker process ended before its work was done (exit status {self._process.wait()}), "
                "perhaps for want of memory: try again with fewer --workers"
            ) from None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # work that was not sent
            self._process.stdin.close()
        self._process.stdout.close()


def serve() -> None:
    """The life of a worker process: requests come in, results go out."""
    requests, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library may print is no result
    while True:
        try:
            function, values, arguments = pickle.load(requests)
        except EOFError:
            return
        answer = [function(value, *arguments) for value in values]
        try:
            pickle.dump(answer, results)
            results.flush()
        except BrokenPipeError:  # the packer is no more
            os._exit(0)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _results(batch: list, future: concurrent.futures.Future) -> Iterator[tuple]:
    for (item, _), result in zip(batch, future.result(), strict=True):
        yield item, result
