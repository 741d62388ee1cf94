"""What constraints and spreading can ask of a node, as one small integer per row.

Owns the numbering of values. An attribute becomes a column when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cube.fleet.arrays import Rows
from cube.messages import NodeInfo

LACKING = 0  # the number of a node that has no such label

_LABEL = "node.labels."
_FIELDS: dict[str, Callable[[NodeInfo], str]] = {
    "node.name": lambda info: info.name,
    "node.hostname": lambda info: info.host or info.name,
    "node.datacenter": lambda info: info.datacenter,
}


def attribute_of(info: NodeInfo, attribute: str) -> str | None:
    """The node's value of `attribute`; None: it has no such label."""
    if attribute in _FIELDS:
        return _FIELDS[attribute](info)
    assert attribute.startswith(_LABEL), f"{attribute} is not an attribute of nodes"
    return dict(info.labels).get(attribute.removeprefix(_LABEL))


class Column:
    """One attribute of every row: `ids[row]` is the number of its value."""

    def __init__(self, attribute: str, infos: Sequence[NodeInfo]) -> None:
        self._attribute = attribute
        self._numbers: dict[str, int] = {}
        self._ids = np.zeros(max(16, len(infos)), np.intp)
        self._count = 0
        for row, info in enumerate(infos):
            self.learn(row, info)

    @property
    def ids(self) -> Rows:
        """The value's number, by row; shape (rows,)."""
        return self._ids[: self._count]

    def number(self, value: str) -> int:
        """The number of `value`; -1: no node has it."""
        return self._numbers.get(value, -1)

    def learn(self, row: int, info: NodeInfo) -> None:
        """The row (known, or the next one) is `info`."""
        if row == len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        self._count = max(self._count, row + 1)
        value = attribute_of(info, self._attribute)
        if value is None:
            self._ids[row] = LACKING
        else:
            self._ids[row] = self._numbers.setdefault(value, len(self._numbers) + 1)


class Attributes:
    """All columns that were ever asked for, kept true."""

    def __init__(self, infos: Sequence[NodeInfo]) -> None:
        self._infos = infos
        self._columns: dict[str, Column] = {}

    def column(self, attribute: str) -> Column:
        """The column of `attribute`."""
        column = self._columns.get(attribute)
        if column is None:
            column = self._columns[attribute] = Column(attribute, self._infos)
        return column

    def learn(self, row: int, info: NodeInfo) -> None:
        """The row is `info` from now on."""
        for column in self._columns.values():
            column.learn(row, info)
