"""Saves figures of matplotlib."""

from __future__ import annotations

from typing import Any


def save_figure(figure: Any, file: Any, **how: Any) -> None:
    """`figure.savefig` with every text as it is written: a name such as `cost_$5_vs_$10` is no mathematics."""
    import matplotlib
    from matplotlib.text import Text

    settings: Any = {
        "text.parse_math": False,  # of texts that drawing adds, such as ticks
        "text.usetex": False,
        "svg.hashsalt": "cactus_tf",  # an SVG's ids are random otherwise
    }
    with matplotlib.rc_context(settings):
        for text in figure.findobj(Text):
            text.set_parse_math(False)
            text.set_usetex(False)
        figure.savefig(file, **how)
