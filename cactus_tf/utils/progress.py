"""Progress of long work: a bar on a terminal, lines in a log, and an estimate before most of the time is spent."""

from __future__ import annotations

import logging
import operator
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tqdm import tqdm

from cactus_tf.utils.text import duration

log = logging.getLogger("cactus_tf")

LONG = 1800.0
"""Seconds of work from which on the estimate says how to shorten it."""
_SHORT = 10.0  # seconds of work that need no line of their own in a log
_SAMPLE = 3.0  # seconds to measure before an estimate
_BRIEF = 60.0  # seconds of work that need no estimate beside a bar
_FEW = 2  # units that need no bar
DELAY = 1.0
"""Seconds before the bar of work that is often over sooner appears on a terminal."""


open_bars: list[Bar] = []
"""Unfinished work, innermost last."""
stages: list[str] = []
"""Stages of the run that have begun, the present one last."""


class Bar:
    """Counts finished units of work and says how long the rest takes.

    On a terminal it is a tqdm bar, for more than two units, that disappears when done. Otherwise it logs the estimate,
    and the time at the end; `utils.watchdog` logs `line()` every minute between. The first update counts as
    compilation, not as a measurement.

    Args:
      iterable: iterating over the bar iterates over this.
      desc: what is done.
      total: units of the whole work; default: the length of the iterable.
      unit: noun for one unit.
      initial: units that were done before.
      delay: seconds before a bar appears on a terminal.
      shorter: how to shorten the work, as in "--steps shortens it"; logged if the estimate is over half an hour.
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        desc: str = "",
        total: int | None = None,
        *,
        unit: str = "step",
        initial: int = 0,
        delay: float = 0.0,
        shorter: str = "",
    ):
        if total is None and iterable is not None:
            total = operator.length_hint(iterable) or None
        few = total is not None and total - initial <= _FEW
        hidden = True if few or not log.isEnabledFor(logging.WARNING) else None  # None: tqdm checks for a terminal
        settings = {"unit": unit, "initial": initial, "delay": delay, "leave": False, "smoothing": 0.0}
        self._bar = tqdm(iterable, desc, total, disable=hidden, **settings)
        self._iterable = iterable
        self.desc, self.unit, self.n, self.shorter = desc, unit, initial, shorter
        self.total, self._initial = total, initial
        self._scalars: Mapping[str, str] = {}
        self._began = time.monotonic()
        self._after_first: tuple[float, int] | None = None  # time and units
        self._announced = False
        open_bars.append(self)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self.close(failed=error[0] is not None)

    def __iter__(self) -> Iterator[Any]:
        assert self._iterable is not None
        with self:
            for item in self._iterable:
                yield item
                self.update()

    def update(self, n: int = 1) -> None:
        """Counts n finished units."""
        self.n += n
        self._bar.update(n)
        if self._after_first is None:
            self._after_first = time.monotonic(), self.n
            if self.shown:
                self._leave_out_first()
        elif not self._announced:
            self._announce()

    def set_postfix(self, scalars: Mapping[str, str]) -> None:
        """Shows scalars, already formatted, beside the count."""
        self._scalars = scalars
        self._bar.set_postfix(scalars, refresh=False)

    def close(self, failed: bool = False) -> None:
        """Removes the bar; logs how long the work took if its start was logged."""
        if self not in open_bars:
            return
        open_bars.remove(self)
        self._bar.close()
        if self._announced and not failed and self._logs:
            done, seconds = self.n - self._initial, time.monotonic() - self._began
            log.info("%s: %s in %s", self.desc, self._amount(done), duration(seconds))

    def seconds_left(self) -> float | None:
        """Estimated from all units but the first update's; None before there is a second one."""
        if self._after_first is None or self.total is None:
            return None
        since, first = self._after_first
        if self.n <= first:
            return None
        return (time.monotonic() - since) / (self.n - first) * max(self.total - self.n, 0)

    def line(self) -> str:
        """Where the work is, in words."""
        of = f" of {self.total:,} ({100 * self.n // self.total}%)" if self.total else ""
        left = self.seconds_left()
        parts = [f"{self.desc}: {self.unit} {self.n:,}{of}"]
        parts += [f"{name} {value}" for name, value in self._scalars.items()]
        parts += [] if left is None else [f"about {duration(left)} left"]
        return ", ".join(parts)

    @property
    def shown(self) -> bool:
        """Whether it is a bar on a terminal."""
        return not self._bar.disable

    def _leave_out_first(self) -> None:
        """Starts tqdm's clock again, and what is left of the delay."""
        now = self._bar._time()
        self._bar.delay = max(0.0, self._bar.delay - (now - self._bar.start_t))
        self._bar.start_t, self._bar.initial = now, self.n
        if not self._bar.delay:
            self._bar.last_print_t = now  # tqdm removes only bars that it printed after the start

    @property
    def _logs(self) -> bool:
        return not sys.stderr.isatty()

    def _announce(self) -> None:
        """Logs the estimate once, for work that is long enough."""
        assert self._after_first is not None
        left = self.seconds_left()
        if left is None or self.total is None or time.monotonic() - self._after_first[0] < _SAMPLE:
            return
        whole = time.monotonic() - self._began + left
        if whole < (_SHORT if self._logs else _BRIEF):
            return
        self._announced = True
        advice = f"; {self.shorter}" if self.shorter and whole > LONG else ""
        amount = self._amount(self.total - self._initial)
        log.info("%s: %s, about %s on this machine%s", self.desc, amount, duration(left), advice)

    def _amount(self, n: int) -> str:
        return f"{n:,} {self.unit}s" if n != 1 else f"1 {self.unit}"
