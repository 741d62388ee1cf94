"""What a metric is, and how a function becomes one.

Owns the interface between runs and those who measure them. A metric looks at a `Window` after the
run is over, and changes nothing.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, overload

from sim.errors import InputError, did_you_mean
from sim.metrics.window import Window

Better: TypeAlias = Literal["lower", "higher"]


class Figure(NamedTuple):
    """A value; `censored` says how many tasks entered it with a bound instead of a value.

    NaN: there was nothing to measure, such as no task of that size.
    """

    value: float
    censored: int = 0


@dataclass(frozen=True, slots=True)
class Metric:
    """What a figure of a run means: its key, its unit, what it says, and which way is better."""

    key: str
    unit: str
    text: str
    better: Better = "lower"

    @property
    def is_quantile(self) -> bool:
        """Is it a quantile of one run, whose distribution over seeds is skewed?"""
        return self.key.endswith((".p50", ".p95", ".p99", ".max"))


Function: TypeAlias = Callable[[Window], float | Figure]


@dataclass(frozen=True)
class Measure:
    """A metric with the function that finds it. Calling it measures one run."""

    metric: Metric
    function: Function
    name: str = ""  # of a user's own: `package.module:name`

    def __call__(self, window: Window) -> Figure:
        """The figure of one run.

        Raises:
            InputError: the function raised, or returned something that is no number.
        """
        try:
            found = self.function(window)
            return Figure(float(found[0]), found[1]) if isinstance(found, tuple) else Figure(
                float(found)
            )  # fmt: skip
        except Exception as error:  # whatever a user's function raises
            if not self.name:
                raise
            what = f"the metric {self.name} raised {type(error).__name__}: {error}"
            raise InputError(what, f"Repair it: {place_of(self.function, error)}.") from error


@overload
def metric(function: Function) -> Measure: ...
@overload
def metric(
    *, unit: str = "", better: Better = "lower", key: str = ""
) -> Callable[[Function], Measure]: ...
def metric(
    function: Function | None = None, *, unit: str = "", better: Better = "lower", key: str = ""
) -> Any:
    """Make a metric of `function(window) -> float`, or `-> (float, censored)`.

    Its key is the function's name unless `key` is given; what it says is the first line of its
    docstring.
    """
    if function is None:
        return lambda decorated: _measure(decorated, unit, better, key)
    return _measure(function, unit, better, key)


def _measure(function: Function, unit: str, better: Better, key: str) -> Measure:
    name = getattr(function, "__name__", type(function).__name__)
    text = (inspect.getdoc(function) or name.replace("_", " ")).partition("\n")[0].rstrip(".")
    home = f"{function.__module__}:{getattr(function, '__qualname__', name)}"
    return Measure(Metric(key or name, unit, text, better), function, home)


def make_measure(wanted: str | Measure | Function) -> Measure:
    """The user's metric that `wanted` names; a decorated or a plain function is taken as it is.

    Raises:
        InputError: the module cannot be imported, or has no such function.
    """
    if isinstance(wanted, Measure):
        return wanted
    if not isinstance(wanted, str):
        return metric(wanted)
    module_name, colon, path = wanted.partition(":")
    if not colon:
        remedy = "Write your own as package.module:name; the others are always measured."
        raise InputError(f"'{wanted}' names no metric of yours", remedy)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module raises
        what = f"the metric {wanted}: cannot import {module_name}: {type(error).__name__}: {error}"
        raise InputError(what, "Run where the module can be imported.") from error
    for part in path.split("."):
        if not hasattr(found, part):
            names = [name for name in vars(found) if not name.startswith("_")]
            raise InputError(f"{module_name} has no '{path}'", did_you_mean(part, names))
        found = getattr(found, part)
    if not callable(found):
        raise InputError(f"{wanted} is a {type(found).__name__}", "Name a function of a window.")
    return make_measure(found)


def place_of(function: Any, error: BaseException | None = None) -> str:
    """`file:line` of the deepest line of the function's own file that raised, or of its head."""
    code = inspect.unwrap(function).__code__
    line, trace = code.co_firstlineno, error.__traceback__ if error else None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{code.co_filename}:{line}"
