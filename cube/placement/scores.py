"""Scores of one shape of demand on every row, kept true row by row.

Owns the cache. Demands of equal shape share a vector of scores; a placement changes one row, so
only that row is filtered and scored anew (A. Verma et al., *Large-scale cluster management at
Google with Borg*, EuroSys 2015, section 3.4). What is cached is bit for bit what scoring afresh
would give. Policies that are not `row_local` are scored afresh each time.
"""

from __future__ import annotations

from inspect import isfunction, unwrap
from typing import Final

import numpy as np

from cube.fleet import Fleet, Floats, Rows
from cube.placement.filters import Filter
from cube.policies import Policy
from cube.spec import Demand, Spread
from cube.values import replace

_ALONE: Final = Spread("none")
_NO_SCORES: Final = np.empty(0)
_FLOAT64: Final = np.dtype(np.float64)


class PolicyFailure(Exception):
    """A policy raised, or returned something that is not a score for each row."""


def where(policy: Policy, error: BaseException | None = None) -> str:
    """`file:line` of the policy's own code that raised `error`, or else of its `score`."""
    function = policy.code if isfunction(policy.code) else type(policy).score
    code = unwrap(function).__code__
    line, trace = code.co_firstlineno, error.__traceback__ if error is not None else None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == code.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{code.co_filename}:{line}"


class Shape:
    """Which rows a shape of demand fits on, and what it costs there."""

    def __init__(self, fleet: Fleet, policy: Policy, demand: Demand) -> None:
        self._fleet = fleet
        self._policy = policy
        self._demand = shape_of(demand)
        self._filter = Filter(fleet, self._demand)
        self._forget()

    def _forget(self) -> None:
        self._capacity = self._fleet.capacity
        self._seen = -1  # the revision up to which rows are true; -1: none is
        self._basis: object = None
        self._scores = np.full(self._capacity, np.inf)
        self._feasible = np.zeros(self._capacity, np.bool_)

    @property
    def feasible(self) -> int:
        """On how many rows it fits, as of the latest `scores`."""
        return int(np.count_nonzero(self._feasible))

    def feasible_among(self, rows: Rows) -> int:
        """On how many of `rows` it fits."""
        return int(np.count_nonzero(self._feasible[rows]))

    def scores(self, demand: Demand) -> Floats:
        """The score of every row now; +inf where it does not fit. Shape (rows,).

        Raises:
            PolicyFailure: the policy does not do its part.
        """
        fleet, cached = self._fleet, self._policy.row_local
        basis = basis_of(self._policy, fleet) if cached else None
        rows = self._stale(basis)
        if rows.size:
            fit = self._filter.passes(rows)
            self._feasible[rows] = fit
            if cached:
                self._scores[rows] = np.inf
                fitting = rows[fit]
                self._scores[fitting] = scored(self._policy, fleet, self._demand, fitting)
        self._seen, self._basis = fleet.revision, basis
        return self._scores[: fleet.count] if cached else self._afresh(demand)

    def _stale(self, basis: object) -> Rows:
        """The rows to look at again: those that changed, or all."""
        fleet = self._fleet
        if self._capacity != fleet.capacity:
            self._forget()
        if self._seen >= 0 and basis == self._basis:
            changed = fleet.rows_since(self._seen)
            if changed is not None and changed.size < fleet.count:
                return changed
        return np.arange(fleet.count)

    def _afresh(self, demand: Demand) -> Floats:
        rows = np.flatnonzero(self._feasible)
        scores = np.full(self._fleet.count, np.inf)
        scores[rows] = scored(self._policy, self._fleet, demand, rows)
        return scores


def shape_of(demand: Demand) -> Demand:
    """The demand without what says nothing about a single row."""
    return replace(demand, service="", spread=_ALONE, max_per_node=None)


def scored(policy: Policy, fleet: Fleet, demand: Demand, rows: Rows) -> Floats:
    """What the policy says of `rows`, all of which fit; float64, shape (len(rows),).

    Raises:
        PolicyFailure: it raised, or returned something else.
    """
    if not rows.size:
        return _NO_SCORES
    try:
        scores = policy.score(fleet, demand, rows)
    except Exception as error:  # whatever a user's function raises
        raise PolicyFailure(f"raised {type(error).__name__}: {error}") from error
    if not isinstance(scores, np.ndarray):
        raise PolicyFailure(f"returned a {type(scores).__name__}, not an array")
    if scores.shape != rows.shape:
        raise PolicyFailure(f"returned shape {scores.shape} for {len(rows)} rows")
    if scores.dtype != _FLOAT64:
        raise PolicyFailure(f"returned {scores.dtype}, not float64")
    return scores


def basis_of(policy: Policy, fleet: Fleet) -> object:
    """What the policy's scores depend on beside rows and demand.

    Raises:
        PolicyFailure: it raised.
    """
    try:
        return policy.basis(fleet)
    except Exception as error:  # whatever a user's class raises
        raise PolicyFailure(f"raised {type(error).__name__}: {error}") from error
