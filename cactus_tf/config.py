"""The settings: every number with its meaning, unit, symbol in the papers, range and source."""

import dataclasses
from typing import Any


def option(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    symbol: str = "",
    source: str = "",
) -> Any:
    """A dataclass field that documents itself and becomes a flag.

    Args:
      default: its value when unsaid; None where the data set or the learner decides.
      meaning: what it is, in a few words.
      low, high: the inclusive range of allowed numbers (of every number, for a list).
      unit: of the number.
      symbol: what the papers call it.
      source: where the default comes from.
    """
    metadata = {"meaning": meaning, "low": low, "high": high, "unit": unit, "symbol": symbol, "source": source}
    return dataclasses.field(default=default, metadata=metadata)
