"""The placement map: how full every node is, over time. A row of the picture is a node."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import InputError, did_you_mean
from sim.metrics import node_levels
from sim.plots.canvas import Picture, canvas
from sim.results import RunResult
from sim.table import Column, Table

RESOURCES = {"cpu": "CPU", "memory": "memory"}
_COLUMNS = (
    Column("seconds", "s", "float64", "virtual time"),
    Column("node", "", "str", "its name"),
    Column("share", "", "float64", "of its capacity that is reserved then"),
)


def map_nodes(result: RunResult, resource: str, width_inches: float) -> Picture:
    """Draw the map of one run.

    Raises:
        InputError: there is no such resource, or only the figures of the run were kept.
    """
    if resource not in RESOURCES:
        raise InputError(f"there is no map of '{resource}'", did_you_mean(resource, RESOURCES))
    if result.observation is None:
        remedy = "Simulate it alone, with sim.run or replay_command."
        raise InputError("a comparison keeps no levels of nodes", remedy)
    seen = result.observation
    seconds, levels = node_levels(seen)
    column = list(RESOURCES).index(resource)
    level = levels["cpu_milli" if resource == "cpu" else "memory_mib"]
    shares = level / np.maximum(seen.capacity[:, column], 1)
    data = Table.of(_COLUMNS, {
        "seconds": np.repeat(seconds, len(seen.node_names)),
        "node": np.tile(np.array(seen.node_names), len(seconds)),
        "share": shares.ravel(),
    })  # fmt: skip
    with canvas(width_inches, ratio=0.62) as (figure, [axes]):
        draw_map(axes, seconds, shares, f"{RESOURCES[resource]} of each node under {result.policy}")
    return Picture(figure, data)


def draw_map(
    axes: Any, seconds: NDArray[np.float64], shares: NDArray[np.float64], title: str
) -> None:
    """Shares are float64[times, nodes]."""
    nodes = shares.shape[1]
    image = axes.imshow(
        shares.T * 100,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(0, float(seconds[-1]), 0.5, nodes + 0.5),
        vmin=0,
        vmax=100,
    )
    axes.set(title=title, xlabel="virtual time (s)", ylabel="node")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, label="reserved (%)")
