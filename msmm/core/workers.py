"""Worker processes that map a function over many images, without TensorFlow."""

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

PATIENCE = 0.4  # seconds of work in this process first: about the time to start worker processes
BATCH = 8  # items sent to a worker at once
AHEAD = 2  # batches in flight per worker; bounds the memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A context manager whose `map` spreads work over `count` worker processes, by default one per core."""

    def __init__(self, count: int | None = None):
        if count is not None and count < 1:
            raise UserError(f"expected 1 or more worker processes, got {count}")
        self._count = count or cores()
        self._spent = 0.0
        self._processes: list[_Process] = []
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        # One per worker, which feeds it and waits for it.
        self._threads: concurrent.futures.ThreadPoolExecutor | None = None

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

        Args:
            function: a function of a module that imports no more than it needs. It is pickled, as are the
                values, the arguments and the results.
            items: pairs of an item and a value; the items stay in this process.
            *arguments: further arguments of every call.

        Raises:
            UserError: a worker ended before its work was done.
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
    """A worker: a fresh Python process that serves requests until its standard input ends.

    It does not outlive a parent that is killed. Unlike a process of `multiprocessing`, it does not run the
    parent's main script again.
    """

    def __init__(self):
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C goes to the parent only
        )

    def run(self, work: tuple) -> list:
        try:
            pickle.dump(work, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            raise UserError(
                f"a worker process ended before its work was done (exit status {self._process.wait()}), "
                "perhaps because memory ran out: try again with fewer --workers"
            ) from None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # a request that was not sent
            self._process.stdin.close()
        self._process.stdout.close()


def serve() -> None:
    """Serves requests from standard input until it ends; writes results to standard output."""
    requests, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # keeps prints of libraries out of the results
    while True:
        try:
            function, values, arguments = pickle.load(requests)
        except EOFError:
            return
        outcome = [function(value, *arguments) for value in values]
        try:
            pickle.dump(outcome, results)
            results.flush()
        except BrokenPipeError:  # the parent has ended
            os._exit(0)


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _results(batch: list, future: concurrent.futures.Future) -> Iterator[tuple]:
    for (item, _), result in zip(batch, future.result(), strict=True):
        yield item, result
