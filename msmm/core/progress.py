"""Progress of long computing: a bar on a terminal; in a log file, a line near its start and one a minute."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator

from tqdm import tqdm

FIRST = 2.0  # seconds before the first line: shorter work stays silent
EVERY = 60.0  # seconds from line to line


class ProgressBar:
    """A progress bar in the manner of tqdm, for people who watch and for log files alike.

    Use it as a context manager and call `update`, or iterate over it.
    """

    def __init__(
        self,
        iterable: Iterable | None = None,
        description: str = "",
        *,
        total: int | None = None,
        unit: str = "items",
        where: object = "",
        initial: int = 0,
        leave: bool = False,
    ):
        """Starts the clock.

        Args:
          iterable: what iterating over the bar yields; may be left out.
          description: what is computed, such as "computing visual-train".
          total: number of units; by default the length of `iterable`, where it has one.
          unit: what is counted, in the plural.
          where: the directory that the result goes to; named in the first line of a log.
          initial: units that were done before.
          leave: whether the finished bar stays on the terminal.
        """
        if total is None and hasattr(iterable, "__len__"):
            total = len(iterable)  # type: ignore[arg-type]
        self._iterable, self._description, self._unit, self._where = iterable, description, unit, where
        self._total, self._initial, self.count = total, initial, initial
        self._start, self._done, self._lines = time.monotonic(), threading.Event(), 0
        on_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            desc=description,
            unit=f" {unit}",
            initial=initial,
            leave=leave,
            disable=not on_terminal,
            dynamic_ncols=True,
        )
        if not on_terminal and sys.stderr is not None:
            threading.Thread(target=self._report, daemon=True).start()

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator:
        with self:
            for item in self._iterable or ():
                yield item
                self.update()

    def update(self, count: int = 1) -> None:
        """Counts further units as done."""
        self.count += count
        self._bar.update(count)

    def note(self, text: str) -> None:
        """Shows a text, such as the loss, beside the bar."""
        self._bar.set_postfix_str(text, refresh=False)

    def close(self) -> None:
        """Ends the bar; in a log, the last line has the duration."""
        self._bar.close()
        if not self._done.is_set():
            self._done.set()
            if self._lines:
                seconds = time.monotonic() - self._start
                self._print(f"{self.count:,} {self._unit} in {_duration(seconds)}")

    def _report(self) -> None:
        wait = FIRST
        while not self._done.wait(wait):
            self._print(self._state())
            wait = EVERY

    def _state(self) -> str:
        of_total = f" of {self._total:,}" if self._total is not None else ""
        state = f"{self.count:,}{of_total} {self._unit}"
        if not self._lines:
            return f"{state}, into {self._where}" if self._where else state
        rate = (self.count - self._initial) / (time.monotonic() - self._start)
        if rate:
            state += f", {rate:,.3g} a second"
        if rate and self._total is not None:
            state += f", about {_duration((self._total - self.count) / rate)} left"
        return state

    def _print(self, state: str) -> None:
        self._lines += 1
        try:
            print(f"{self._description}: {state}", file=sys.stderr, flush=True)
        except (OSError, ValueError):  # a closed or full log is no reason to end the work
            self._done.set()


def write_line(text: str, file=None) -> None:
    """Prints a line above the bars that a terminal shows.

    Args:
      text: the line.
      file: an open text stream; by default standard output.
    """
    tqdm.write(text, file=file or sys.stdout)


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
