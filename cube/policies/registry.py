"""From the text that users write to a policy, and back: `epvm`, `epvm(base=1.54)`, `pkg.mod:name`.

Owns the names. Policies of other packages come as `package.module:name` or as entry points of the
group `cube.policies`.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from cube.policies.fit import BestFit, FirstFit, WorstFit
from cube.policies.fragmentation import Fgd
from cube.policies.kubernetes import least_allocated, most_allocated
from cube.policies.opportunity import Epvm, EpvmBook, EpvmPaper
from cube.policies.packing import dot_product, hybrid, nomad_binpack
from cube.policies.policy import Policy, PolicyError, PolicyFunction, check_parameters, policy
from cube.policies.turns import Choices, Greedy, Random, RoundRobin

ENTRY_POINTS: Final = "cube.policies"
_OWN: Final[dict[str, type[Policy] | PolicyFunction]] = {
    "epvm": Epvm,
    "epvm-paper": EpvmPaper,
    "epvm-book": EpvmBook,
    "round-robin": RoundRobin,
    "greedy": Greedy,
    "best-fit": BestFit,
    "worst-fit": WorstFit,
    "first-fit": FirstFit,
    "dot-product": dot_product,
    "hybrid": hybrid,
    "fgd": Fgd,
    "nomad-binpack": nomad_binpack,
    "least-allocated": least_allocated,
    "most-allocated": most_allocated,
    "two-choices": Choices,
    "random": Random,
}
_TEXT = re.compile(r"\s*(?P<name>[\w.:<>-]+)\s*(?:\((?P<parameters>.*)\))?\s*", re.DOTALL)


def policy_names() -> tuple[str, ...]:
    """Every name that needs no module: Cube's own first, then those of installed packages."""
    return (*_OWN, *sorted(_installed().keys() - _OWN.keys()))


def make_policy(wanted: str | Policy | PolicyFunction) -> Policy:
    """The policy that `wanted` names; a policy or a decorated function is taken as it is.

    Raises:
        PolicyError: no such policy, a parameter it does not have or that is not a plain value, or
            a module that cannot be imported.
    """
    if isinstance(wanted, Policy):
        return wanted
    if isinstance(wanted, PolicyFunction):
        return wanted()
    match = _TEXT.fullmatch(wanted)
    if match is None:
        raise PolicyError(f"{wanted!r} is not a policy; write NAME or NAME(parameter=value)")
    name = match["name"]
    made = _configure(name, _find(name), _parameters(name, match["parameters"] or ""))
    made.name = name
    return made


def _parameters(name: str, text: str) -> dict[str, object]:
    """Read `base=1.54, seed=3`; only plain values, nothing is executed."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        pairs = [(k.arg, ast.literal_eval(k.value)) for k in call.keywords if k.arg]
        if len(dict(pairs)) < len(call.keywords):
            raise ValueError
    except (ValueError, SyntaxError):
        raise PolicyError(
            f"cannot read the parameters of policy {name}: ({text}); "
            "write each parameter=value once, with plain numbers or strings"
        ) from None
    return dict(pairs)


def _configure(name: str, found: Any, parameters: dict[str, object]) -> Policy:
    if isinstance(found, Policy) and not parameters:
        return found
    if isinstance(found, PolicyFunction):
        return found(**parameters)
    if isinstance(found, type) and issubclass(found, Policy):
        bare = found.__init__ is Policy.__init__  # takes anything, for its subclasses' sake
        known = [] if bare else list(inspect.signature(found).parameters.values())
        check_parameters(name, known, parameters)
        try:
            return found(**parameters)
        except PolicyError:
            raise
        except Exception as error:
            raise PolicyError(f"policy {name} refuses its parameters: {error}") from error
    if inspect.isfunction(found):
        return policy(found)(**parameters)
    raise PolicyError(f"{name} is a {type(found).__name__}, not a policy; decorate a function "
                      "with cube.policies.policy")  # fmt: skip


def _find(name: str) -> Any:
    if name in _OWN:
        return _OWN[name]
    if ":" in name:
        return _imported(name)
    installed = _installed()
    if name in installed:
        try:
            return installed[name].load()
        except Exception as error:
            raise PolicyError(f"policy {name} cannot be loaded: {error}") from error
    raise PolicyError(_unknown(name))


def _imported(name: str) -> Any:
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # whatever a user's module raises
        kind = type(error).__name__
        raise PolicyError(f"policy {name}: cannot import {module_name}: {kind}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise PolicyError(f"policy {name}: {module_name} has no {path!r}{hint}")
        found = getattr(found, part)
    return found


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def _unknown(name: str) -> str:
    names = policy_names()
    near = difflib.get_close_matches(name, names, 1)
    if near:
        return f"there is no policy {name!r}; did you mean {near[0]}?"
    return (
        f"there is no policy {name!r}; there are {', '.join(names)}, "
        "and your own as package.module:name"
    )
