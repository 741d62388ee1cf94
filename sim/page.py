"""`report DIR`: results as one HTML page that needs nothing else, pictures included.

Reads what `run`, `compare` and `sweep` have written, and computes nothing that is not in there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sim import files
from sim.comparison import COMPARED
from sim.errors import InputError
from sim.metrics import CPU, MEMORY, METRICS
from sim.paired import number
from sim.plots import PANELS, Picture, Setting, draw_map, draw_over
from sim.plots.canvas import canvas, legend, looks
from sim.schema import COMPARISON, TASKS
from sim.table import Column, Table

NAME = "report.html"
_WIDTH = 6.6  # inches of a picture
_STYLE = Path(__file__).with_name("page.css")
_TEXTS = {metric.key: metric for metric in METRICS}
_PICTURES = {
    "utilisation": "Share of the scarcest resource that is reserved; grey: what figures are of.",
    "waiting": "Share of tasks that wait longer than x.",
    "imbalance": "Every seed, the mean, and its 95 % interval.",
}


@dataclass(frozen=True)
class _Folder:
    """A folder of results."""

    path: Path
    summary: Mapping[str, Any]

    def table(self, name: str, columns: Sequence[Column]) -> Table:
        return Table.read(self.path / name, columns)


def write_page(folder: Path, *, force: bool = False) -> Path:
    """Write `report.html` into a folder of results; returns its place.

    Raises:
        InputError: the folder holds no results, they are damaged, or the page exists already.
    """
    place = folder / NAME
    if place.exists() and not force:
        raise InputError(f"{place} exists already", "Say --force to replace it.")
    found = _Folder(folder, _summary(folder))
    try:
        body = "\n".join(_BODIES[found.summary["kind"]](found))
    except (OSError, KeyError, ValueError, TypeError) as error:
        what = f"the results in {folder} are damaged: {type(error).__name__}: {error}"
        raise InputError(what, "Simulate them again.") from error
    files.put(place, _html(found, body).encode())
    return place


def _summary(folder: Path) -> Mapping[str, Any]:
    path = folder / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_bytes())
    except OSError as error:
        remedy = "Name a folder that run, compare or sweep has finished with --out."
        raise InputError(f"{path}: {error.strerror}", remedy) from None
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise InputError(f"{path}:{line}: this is no JSON: {error}", "Simulate it again.") from None
    if not isinstance(summary, dict) or summary.get("kind") not in _BODIES:
        raise InputError(f"{path}: these are no results of the simulator", "Name another folder.")
    return summary


# --- one kind of results each ------------------------------------------------------------


def _run(found: _Folder) -> Iterator[str]:
    summary = found.summary
    setting = _setting([summary])
    yield _facts(
        ("policy", summary["policy"]), ("seed", summary["seed"]), ("nodes", summary["nodes"]),
        ("tasks", ", ".join(f"{n:,} {name}" for name, n in summary["counts"].items() if n)),
        ("figures from", _window(summary)), ("trace_hash", summary["trace_hash"]),
    )  # fmt: skip
    yield "<h2>Figures</h2>"
    yield _html_table(("metric", "value", "unit", "censored", "what it says"), (
        (key, number(np.nan if value is None else value), *_unit_and_text(
            key, summary["censored"].get(key, 0)))
        for key, value in summary["metrics"].items()
    ), "told")  # fmt: skip
    tasks = found.table("tasks.csv.gz", TASKS)
    first, policy = summary["window_seconds"][0], summary["policy"]
    waits = np.sort(tasks["wait_seconds"][tasks["submitted_seconds"] >= first])
    panel = PANELS["waiting"]
    distribution = Table.of(panel.columns, {
        "policy": [policy] * len(waits),
        "seconds": waits,
        "share": 1 - np.arange(1, len(waits) + 1) / max(len(waits), 1),
    })  # fmt: skip
    yield _picture(_panel("waiting", distribution, [policy], setting), _PICTURES["waiting"])
    yield from _maps([(policy, found.path / "nodes.npz")])


def _comparison(found: _Folder) -> Iterator[str]:
    summary = found.summary
    policies, runs = summary["policies"], summary["runs"]
    yield _facts(
        ("policies", ", ".join(policies)), ("baseline", summary["baseline"]),
        ("seeds", ", ".join(map(str, summary["seeds"]))), ("nodes", runs[0]["nodes"]),
        ("tasks", f"{runs[0]['counts']['tasks']:,} in each run"),
        ("warm-up", f"left out; figures of the first seed from {_window(runs[0])}"),
    )  # fmt: skip
    if summary["seeds"]:
        lines = found.table("comparison.csv", COMPARISON)
        yield from _compared(lines)
        setting = _setting(runs)
        for name, text in _PICTURES.items():
            table = found.table(f"comparison.{name}.csv", PANELS[name].columns)
            yield _picture(_panel(name, table, policies, setting), text)
    names = files.slugs(policies)
    first = f"seed-{runs[0]['seed']}"
    yield from _maps([(p, found.path / "runs" / names[p] / first / "nodes.npz") for p in policies])


def _sweep(found: _Folder) -> Iterator[str]:
    summary = found.summary
    parameters, policies = summary["parameters"], summary["policies"]
    yield _facts(
        ("parameters", ", ".join(parameters)), ("policies", ", ".join(policies)),
        ("baseline", summary["baseline"]), ("seeds", ", ".join(map(str, summary["seeds"]))),
        ("cells", summary["cells"]),
    )  # fmt: skip
    head = [
        Column(path, "", _dtype([p[path] for p in summary["points"]]), "") for path in parameters
    ]
    table = found.table("comparison.csv", [*head, *COMPARISON])
    for metric in COMPARED:
        rows = table.where(table["metric"] == metric)
        yield f"<h2>{escape(metric)}</h2><p>{escape(_TEXTS[metric].text)}</p>"
        if parameters and head[0].dtype != "str":
            picture = draw_over(rows, parameters[0], metric, policies, _WIDTH)
            yield _picture(picture, "Means with their 95 % intervals.")
        yield _html_table((*parameters, *_HEAD), (
            (*(_cell(cell) for cell in row[: len(parameters)]), *_line(row[len(parameters) :]))
            for row in rows.rows()
        ))  # fmt: skip


_BODIES: dict[str, Callable[[_Folder], Iterator[str]]] = {
    "run": _run,
    "comparison": _comparison,
    "sweep": _sweep,
}


# --- parts -------------------------------------------------------------------------------

_HEAD = ("policy", "mean", "difference", "95 % interval", "p (Holm)", "n", "censored")


def _compared(lines: Table) -> Iterator[str]:
    """The usual metrics, and all others folded away."""
    yield "<h2>Figures</h2>"
    for metric in dict.fromkeys(lines["metric"].tolist()):
        rows = lines.where(lines["metric"] == metric)
        known = _TEXTS.get(metric)
        text = f"{known.text}; {known.better} is better" if known else "a metric of your own"
        unit = f" ({rows['unit'][0]})" if rows["unit"][0] else ""
        block = _html_table(_HEAD, (_line(row) for row in rows.rows()))
        title = f"<b>{escape(metric)}</b>{escape(unit)}: {escape(text)}"
        opened = " open" if metric in COMPARED or known is None else ""
        yield f"<details{opened}><summary>{title}</summary>{block}</details>"


def _line(row: Sequence[Any]) -> tuple[str, ...]:
    """A row of `COMPARISON`, for people."""
    _, _, policy, mean, _, _, difference, low, high, p, n, censored = row
    if difference is None:
        return (policy, _cell(mean), "", "baseline", "", str(n), f"{censored:,}")
    between = "-" if low is None else f"[{number(low, True)}, {number(high, True)}]"
    told = "-" if p is None else f"{p:.4f}"
    return (policy, _cell(mean), number(difference, True), between, told, str(n), f"{censored:,}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return number(value) if isinstance(value, float) else str(value)


def _unit_and_text(key: str, censored: int) -> tuple[str, str, str]:
    known = _TEXTS.get(key)
    return (known.unit, f"{censored:,}", known.text) if known else ("", f"{censored:,}", "your own")


def _setting(runs: Sequence[Mapping[str, Any]]) -> Setting:
    first, last = np.mean([run["window_seconds"] for run in runs], axis=0).tolist()
    resource = MEMORY if runs[0]["scarcest_resource"] == "memory_mib" else CPU
    return Setting(resource, runs[0]["load"], (first, last))


def _window(run: Mapping[str, Any]) -> str:
    first, last = run["window_seconds"]
    return f"{first:,.1f} s to {last:,.1f} s (arrivals after the warm-up)"


def _dtype(values: Sequence[Any]) -> Any:
    kinds = {type(value) for value in values}
    return "int64" if kinds == {int} else "float64" if kinds <= {int, float} else "str"


def _panel(name: str, table: Table, policies: Sequence[str], setting: Setting) -> Picture:
    found = looks(policies)
    with canvas(_WIDTH, ratio=0.5, more_inches=0.4) as (figure, [axes]):
        PANELS[name].draw(axes, table, found, setting)
        legend(figure, found)
    return Picture(figure)


def _maps(runs: Sequence[tuple[str, Path]]) -> Iterator[str]:
    """How full each node was, over time."""
    for policy, path in runs:
        if not path.exists():
            continue
        with np.load(path) as nodes:
            shares = nodes["cpu_milli"] / np.maximum(nodes["capacity_cpu_milli"], 1)
            with canvas(_WIDTH, ratio=0.45) as (figure, [axes]):
                draw_map(axes, nodes["seconds"], shares, f"CPU of each node under {policy}")
        yield _picture(
            Picture(figure), "A row is a node; the brighter, the more of it is reserved."
        )


def _picture(picture: Picture, caption: str) -> str:
    data = base64.b64encode(picture.png()).decode()
    text = escape(caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _facts(*facts: tuple[str, Any]) -> str:
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts)
    return f"<dl>{rows}</dl>"


def _html_table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table class='{kind}'><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _html(found: _Folder, body: str) -> str:
    summary, environment = found.summary, found.path / "env.json"
    title = f"{summary['scenario']}: {summary['kind']}"
    versions = escape(environment.read_text()) if environment.exists() else ""
    replay = (
        f"<p>Replay: <code>{escape(summary['replay'])}</code></p>" if "replay" in summary else ""
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE.read_text()}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n{body}\n<h2>How it was made</h2>{replay}"
        f"<details><summary>versions and platform</summary><pre>{versions}</pre></details>\n"
        "<p>Definitions of all figures: docs/simulation.md. The numbers behind each picture are in "
        "the CSV files of this folder.</p></body></html>\n"
    )
