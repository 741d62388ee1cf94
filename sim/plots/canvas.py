"""Where pictures are drawn: the one style, a look for each policy, and files with their data.

Every picture is drawn from a `Table` that is written beside it as CSV, so whoever wants it
otherwise can draw it again.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

from sim.errors import InputError
from sim.table import Table

STYLE = Path(__file__).with_name("paper.mplstyle")
PANEL_RATIO = 0.8  # height of a panel to its width
KINDS = (".pdf", ".png", ".svg")
GREY = "#666666"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_MARKERS = "osD^vPX"


class Look(NamedTuple):
    """How one policy is drawn."""

    colour: str
    dash: Any
    marker: str


def looks(policies: Sequence[str]) -> dict[str, Look]:
    """A look for each policy, in their order."""
    found = map(Look, cycle(_COLOURS), cycle(_DASHES), cycle(_MARKERS))
    return {policy: next(found) for policy in policies}


@contextmanager
def canvas(
    width_inches: float, panels: int = 1, *, ratio: float = PANEL_RATIO, more_inches: float = 0.0
) -> Iterator[tuple[Any, list[Any]]]:
    """A figure with panels side by side, in the style of `paper.mplstyle`; draws on no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.style import context

    with context(STYLE):
        height = width_inches / panels * ratio + more_inches
        figure = Figure(figsize=(width_inches, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, list(figure.subplots(1, panels, squeeze=False)[0])


def legend(figure: Any, found: dict[str, Look]) -> None:
    """Name the policies below the panels."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, linestyle=look.dash, marker=look.marker, markersize=4)
        for look in found.values()
    ]
    columns = max(1, min(len(found), int(figure.get_figwidth() / 1.6)))
    figure.legend(handles, list(found), loc="outside lower center", ncols=columns, handlelength=3)


@dataclass(frozen=True)
class Picture:
    """A picture with the data that it shows; notebooks display it."""

    figure: Any
    data: Table | None = None

    def save(self, path: str | Path) -> None:
        """Write it in the file type that the name says, and its data beside it, as CSV.

        Raises:
            InputError: there is no such file type.
        """
        place = Path(path)
        if place.suffix not in KINDS:
            raise InputError(f"{place} is no picture", f"End its name in {', '.join(KINDS)}.")
        partial = place.with_name(f".partial-{os.getpid()}{place.name}")
        self._write(partial, metadata={"Date": None} if place.suffix == ".svg" else None)
        partial.replace(place)
        if self.data is not None:
            self.data.write(place.with_suffix(".csv"), force=True)

    def png(self) -> bytes:
        """Its bytes, for a page that holds it."""
        buffer = io.BytesIO()
        self._write(buffer, format="png", dpi=150)
        return buffer.getvalue()

    def _write(self, to: Any, **options: Any) -> None:
        from matplotlib.style import context

        with context(STYLE):
            self.figure.savefig(to, **options)

    def _repr_png_(self) -> bytes:
        return self.png()
