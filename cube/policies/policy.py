"""What a policy is, and how a function becomes one.

Owns the interface between placement and those who score. A policy never looks at whether a task
fits, never takes anything, and knows nothing of time.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeAlias, overload

from cube.fleet import Fleet, Floats, Rows
from cube.spec import Demand

ScoreFunction: TypeAlias = Callable[..., Floats]  # (fleet, task, rows, *, parameters)


class PolicyError(ValueError):
    """A policy's name, text or parameter is wrong; the message says what would be right."""


class Policy(ABC):
    """Scores rows; the lowest score is picked, and of equal ones the lowest row.

    Attributes:
        name: what it is called in texts and tables.
        row_local: may scores be cached? True promises that a row's score depends only on the
            demand, on the cells of that row, and on what `basis` returns.
        parameters: what it was configured with, for its text form.
    """

    name: str = ""
    row_local: bool = False

    def __init__(self, **parameters: object) -> None:
        self.parameters: Mapping[str, object] = parameters

    def __init_subclass__(cls) -> None:
        if "name" not in vars(cls):
            cls.name = f"{cls.__module__}:{cls.__qualname__}"

    @abstractmethod
    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """The cost of placing `demand` on each of `rows`; lower is better.

        Must change nothing. NaN and -inf are errors; +inf refuses a row.

        Returns:
            float64, shape (len(rows),).
        """

    @property
    def code(self) -> Any:
        """The function or class that scores, for those who look at its source."""
        return type(self)

    def basis(self, fleet: Fleet) -> Hashable:
        """Whatever else all scores depend on: when it changes, no cached score is good."""
        return None

    def gpus(self, fleet: Fleet, row: int, demand: Demand) -> tuple[int, ...]:
        """Which of the row's devices a task gets that is placed there; by default the tightest.

        Whole devices are all alike; a share goes where it leaves least.
        """
        return () if demand.gpu is None else fleet.devices.tightest(row, demand.gpu)

    def placed(self, fleet: Fleet, row: int, demand: Demand) -> None:
        """`demand` was placed on `row`, whose cells show it already."""
        return  # most policies remember nothing

    def freed(self, fleet: Fleet, row: int, demand: Demand) -> None:
        """`demand` left `row`: told by `Placer.free`, and not by rounds, which bring whole rows."""
        return

    def _defaults(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(type(self).__init__).parameters

    def __str__(self) -> str:
        """The text that `make_policy` reads: the name, and the parameters that are not default."""
        defaults = self._defaults()
        changed = [
            f"{name}={value!r}"
            for name, value in self.parameters.items()
            if name not in defaults or defaults[name].default != value
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name


class FunctionPolicy(Policy):
    """A function with its parameters, as a policy."""

    def __init__(
        self, function: ScoreFunction, name: str, row_local: bool, parameters: Mapping[str, object]
    ) -> None:
        super().__init__(**parameters)
        self.__doc__ = function.__doc__
        self._function = function
        self.name = name
        self.row_local = row_local

    def score(self, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
        """What the function says."""
        return self._function(fleet, demand, rows, **self.parameters)

    @property
    def code(self) -> ScoreFunction:
        """The function."""
        return self._function

    def _defaults(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self._function).parameters


class PolicyFunction:
    """A decorated function. Calling it with keyword parameters gives a configured policy."""

    def __init__(self, function: ScoreFunction, row_local: bool) -> None:
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self.name = f"{function.__module__}:{function.__qualname__}"
        self._row_local = row_local

    def __call__(self, **parameters: object) -> Policy:
        """The policy with these parameters.

        Raises:
            PolicyError: the function has no such parameter.
        """
        known = list(inspect.signature(self.__wrapped__).parameters.values())[3:]
        check_parameters(self.name, known, parameters)
        return FunctionPolicy(self.__wrapped__, self.name, self._row_local, parameters)


@overload
def policy(function: ScoreFunction) -> PolicyFunction: ...
@overload
def policy(*, row_local: bool = False) -> Callable[[ScoreFunction], PolicyFunction]: ...
def policy(function: ScoreFunction | None = None, *, row_local: bool = False) -> Any:
    """Make a policy of `function(fleet, task, rows, *, parameters) -> float64[len(rows)]`.

    `task` is the `Demand`. With `row_local=True` you promise that one row's cells and the task
    decide the row's score, which lets scores be cached.
    """
    if function is None:
        return lambda decorated: PolicyFunction(decorated, row_local)
    return PolicyFunction(function, row_local)


def check_parameters(
    name: str, known: Sequence[inspect.Parameter], given: Mapping[str, object]
) -> None:
    """Refuse parameters that the policy `name` does not have, and miss those that it must have.

    Raises:
        PolicyError: names the first wrong parameter, and those that there are.
    """
    names = [parameter.name for parameter in known]
    has = f"it has: {', '.join(names)}" if names else "it has none"
    for parameter in given:
        if parameter not in names:
            raise PolicyError(f"policy {name} has no parameter {parameter!r}; {has}")
    for wanted in known:
        if wanted.default is wanted.empty and wanted.name not in given:
            raise PolicyError(f"policy {name} needs its parameter {wanted.name!r}; {has}")
