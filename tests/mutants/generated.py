"""The generated mutants: every comparison, constant and call of the cores, changed one at a time.

A comparison is turned round and, where it has a bound, moved by that bound; a number becomes the
next, a truth its opposite; a call that is made for its effect is left out. Texts, annotations,
decorators and coverage marks are left alone: they decide nothing.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random

from tests.mutants.judge import Case, Killer, Seeds, Suite
from tests.mutants.source import ROOT, path_of

OTHERS = {
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
}
OPERATOR = re.compile(rb"not\s+in|is\s+not|[=!<>]=|[<>]|\bin\b|\bis\b")
MODULES = (
    "cube.actor",
    "cube.manager",
    "cube.placement",
    "cube.scheduler",
    "cube.task",
    "cube.worker",
)
# Who may notice a mutant, by the beginning of its module's name: the tests that know the module,
# then runs of the fault simulator, then whoever else runs the cores. The cheapest come first.
OWN = {
    "cube.actor": ("test_actor",),
    "cube.manager": ("test_manager*",),
    "cube.placement": ("test_placement", "test_board", "test_gpus", "test_plan"),
    "cube.scheduler": ("test_scheduler",),
    "cube.task": ("test_task", "test_manager*"),
    "cube.worker": ("test_worker*",),
}
SCENARIOS = ("crashes", "network", "scarce", "stores", "engines", "operators", "together")
MORE = (2, 3)  # seeds of each of them
LARGE = ("scaled-reports", "everything")  # last, since a run of these takes seconds
ELSEWHERE = (
    "test_actor",
    "test_doors",
    "test_fleet",
    "test_manager*",
    "test_packing_policies",
    "test_plan",
    "test_policies",
    "test_record",
    "test_snapshot",
    "test_views*",
    "test_worker*",
)
PROPERTIES = Suite(("tests/properties/test_placement_properties.py",))
SIMULATED = Suite(
    (
        "tests/simulation/test_drain.py",
        "tests/simulation/test_protocol_faults.py",
        "tests/simulation/test_world_conformance.py",
    ),
    but="threads",
)


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change of one module, as a span of its bytes and what stands there instead."""

    module: str
    function: str
    kind: str  # comparison, constant or call
    text: str  # what changes into what, whatever its line
    span: tuple[int, int]
    new: bytes

    @property
    def key(self) -> str:
        """Unique, and the same wherever else the module changes."""
        return f"{self.module}:{self.function}: {self.text}"

    def apply(self, source: bytes) -> str:
        """The module's source with this change."""
        start, end = self.span
        return (source[:start] + self.new + source[end:]).decode()

    @property
    def case(self) -> Case:
        """What is to be judged."""
        source = self.apply(path_of(self.module).read_bytes())
        return Case(self.key, {self.module: source}, killers(self.module))


def mutations() -> list[Mutation]:
    """All of them, by module and place."""
    found: list[Mutation] = []
    for module in modules():
        found += mutations_of(module, path_of(module).read_bytes())
    return found


def modules() -> list[str]:
    """The modules of the cores."""
    names = []
    for name in MODULES:
        path = path_of(name)
        files = sorted(path.parent.glob("*.py")) if path.stem == "__init__" else [path]
        names += [name if file == path else f"{name}.{file.stem}" for file in files]
    return names


def mutations_of(module: str, source: bytes) -> list[Mutation]:
    """The mutations of one module, by place; equal ones in one function are numbered."""
    walk = _Walk(module, source)
    walk.visit(ast.parse(source))
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for m in sorted(walk.found, key=lambda m: m.span):
        seen[m.function, m.text] += 1
        number = seen[m.function, m.text]
        text = m.text if number == 1 else f"{m.text} #{number}"
        found.append(replace(m, text=text))
    return found


def drawn(found: Iterable[Mutation], seed: int) -> list[Mutation]:
    """In such an order that the first so many have from each module its share, by lot."""
    groups: dict[str, list[Mutation]] = defaultdict(list)
    for mutation in found:
        groups[mutation.module].append(mutation)
    placed = []
    for module, group in groups.items():
        shuffled = Random(f"{seed} {module}").sample(group, len(group))
        placed += [((i + 0.5) / len(group), m.key, m) for i, m in enumerate(shuffled)]
    return [mutation for *_, mutation in sorted(placed, key=lambda p: p[:2])]


def killers(module: str) -> tuple[Killer, ...]:
    """Who may notice a mutant of that module, cheapest first."""
    own = next(names for prefix, names in OWN.items() if module.startswith(prefix))
    return (
        Suite(_files(own)),
        *(Seeds(scenario, (1,)) for scenario in SCENARIOS),
        Suite(_files(name for name in ELSEWHERE if name not in own)),
        *((PROPERTIES,) if module.startswith("cube.placement") else ()),
        SIMULATED,
        *(Seeds(scenario, (seed,)) for seed in MORE for scenario in SCENARIOS),
        *(Seeds(scenario, (1,)) for scenario in LARGE),
    )


def _files(names: Iterable[str]) -> tuple[str, ...]:
    folder = ROOT / "tests" / "unit"
    paths = [path for name in names for path in sorted(folder.glob(f"{name}.py"))]
    return tuple(str(Path(path).relative_to(ROOT)) for path in paths)


class _Walk(ast.NodeVisitor):
    """Finds what can be changed."""

    def __init__(self, module: str, source: bytes) -> None:
        self.found: list[Mutation] = []
        self._module = module
        self._source = source
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._function: list[str] = []
        self._statement = ""

    def visit(self, node: ast.AST) -> None:
        """Keep in mind in which statement we are."""
        if isinstance(node, ast.stmt):
            self._statement = self._head(node)
        super().visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Not its decorators."""
        self._inside(node.name, node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Neither decorators nor annotations."""
        defaults = (*node.args.defaults, *node.args.kw_defaults)
        self._inside(node.name, [*filter(None, defaults), *node.body])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Not the annotation."""
        if node.value is not None:
            self.visit(node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """A text."""

    def visit_Expr(self, node: ast.Expr) -> None:
        """A call that is made for its effect."""
        if isinstance(node.value, ast.Call):
            if isinstance(node.value.func, ast.Name) and node.value.func.id == "mark":
                return
            self._add("call", f"{_short(ast.unparse(node))} -> pass", self._span(node), b"pass")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Each of its operators."""
        sides = [node.left, *node.comparators]
        for operator, (left, right) in zip(node.ops, pairwise(sides), strict=True):
            start, end = self._span(left)[1], self._span(right)[0]
            (match,) = OPERATOR.finditer(self._source, start, end)
            for other in OTHERS[type(operator)]:
                old = f"{ast.unparse(left)} {match[0].decode()} {ast.unparse(right)}"
                text = f"{_short(old)} -> {other}"
                self._add("comparison", text, match.span(), other.encode())
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        """A number or a truth."""
        value = node.value
        if isinstance(value, bool):
            other: object = not value
        elif isinstance(value, int):
            other = value + 1
        elif isinstance(value, float):
            other = value * 2 or 1.0
        else:
            return
        text = f"{value} -> {other} in {self._statement}"
        self._add("constant", text, self._span(node), str(other).encode())

    def _inside(self, name: str, body: Iterable[ast.AST]) -> None:
        self._function.append(name)
        for part in body:
            self.visit(part)
        self._function.pop()

    def _add(self, kind: str, text: str, span: tuple[int, int], new: bytes) -> None:
        function = ".".join(self._function) or "(module)"
        self.found.append(Mutation(self._module, function, kind, text, span, new))

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._lines[node.lineno - 1] + node.col_offset
        return start, self._lines[node.end_lineno - 1] + node.end_col_offset

    def _head(self, node: ast.stmt) -> str:
        """A statement, or the first line of one that has others inside."""
        start, end = self._span(node)
        text = self._source[start:end].decode()
        return _short(text.splitlines()[0] if hasattr(node, "body") else text)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 100 else f"{text[:97]}..."
