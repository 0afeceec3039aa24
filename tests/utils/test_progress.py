import io
import logging
import sys

import pytest

from cactus_tf.utils import progress
from cactus_tf.utils.text import duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only by hand."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "cactus_tf")
    return lambda: [record.getMessage() for record in caplog.records]


def work(bar, clock, seconds):
    for second in seconds:
        clock.now += second
        bar.update()


def test_the_first_step_counts_as_compilation_not_as_a_measurement(clock):
    with progress.Bar(desc="train", total=100) as bar:
        work(bar, clock, [50, 2, 2])
        assert bar.seconds_left() == pytest.approx(97 * 2)


def test_without_a_second_step_nothing_is_estimated(clock):
    with progress.Bar(desc="train", total=100) as bar:
        work(bar, clock, [50])
        assert bar.seconds_left() is None
        assert bar.line() == "train: step 1 of 100 (1%)"


def test_a_log_gets_the_estimate_once_and_the_time_at_the_end(clock, lines):
    with progress.Bar(desc="train", total=20) as bar:
        work(bar, clock, [5] + [1] * 19)
    assert lines() == ["train: 20 steps, about 16 s on this machine", "train: 20 steps in 24 s"]


def test_short_work_leaves_no_line(clock, lines):
    with progress.Bar(desc="train", total=5) as bar:
        work(bar, clock, [1.5] * 5)
    assert lines() == []


def test_work_of_over_half_an_hour_says_how_to_shorten_it(clock, lines):
    with progress.Bar(desc="acai", total=9_400, shorter="--embedder_steps shortens it") as bar:
        work(bar, clock, [60, 15, 15])
    assert lines()[0] == "acai: 9,400 steps, about 39 h on this machine; --embedder_steps shortens it"


def test_work_of_a_few_minutes_needs_no_advice(clock, lines):
    with progress.Bar(desc="acai", total=40, shorter="--embedder_steps shortens it") as bar:
        work(bar, clock, [15, 15])
    assert lines()[0] == "acai: 40 steps, about 10 min on this machine"


def test_a_line_says_where_the_work_is(clock):
    with progress.Bar(desc="train", total=3_000, initial=1_000) as bar:
        work(bar, clock, [9, 1, 1])
        bar.set_postfix({"loss": "0.342"})
        assert bar.line() == "train: step 1,003 of 3,000 (33%), loss 0.342, about 33 min left"


def test_resumed_work_counts_what_is_left(clock, lines):
    with progress.Bar(desc="train", total=40, initial=30) as bar:
        work(bar, clock, [15] * 10)
    assert lines() == ["train: 10 steps, about 2 min on this machine", "train: 10 steps in 2 min"]


def test_what_fails_is_not_called_finished(clock, lines):
    with pytest.raises(ZeroDivisionError), progress.Bar(desc="train", total=20) as bar:
        work(bar, clock, [5] * 6)
        1 / 0  # noqa: B018
    assert [line for line in lines() if " in " in line] == []
    assert progress.open_bars == []


def test_iterating_counts_every_item(clock):
    bar = progress.Bar([3, 4, 5], "sum")
    assert (sum(bar), bar.n, bar.total) == (12, 3, 3)
    assert progress.open_bars == []


def terminal(monkeypatch):
    """Standard error as a terminal; pytest puts its own back before a test, so no fixture can do this."""
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_bar_disappears_even_after_a_single_update(monkeypatch):
    stream = terminal(monkeypatch)
    with progress.Bar(desc="read", total=3) as bar:
        bar.update(3)
    assert "read" in stream.getvalue()
    assert stream.getvalue().endswith(" \r")


def test_one_or_two_units_and_short_work_have_no_bar(monkeypatch):
    stream = terminal(monkeypatch)
    for given in ({"total": 1}, {"total": 2}, {"total": 9, "initial": 8}, {"total": 9, "delay": 60.0}):
        with progress.Bar(desc="read", **given) as bar:
            bar.update()
    assert list(progress.Bar([1, 2], "read")) == [1, 2]
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (99, "99 s"),
        (720, "12 min"),
        (12_000, "3 h 20 min"),
        (10_800, "3 h"),
        (140_000, "39 h"),
        (518_400, "6 days"),
    ],
)
def test_durations_in_words(seconds, text):
    assert duration(seconds) == text
