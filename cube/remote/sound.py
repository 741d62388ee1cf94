"""What machines may say to one another: numbers that can be, names of the right form.

The codec has seen to types. Whatever passes here is taken in without looking again, and some of it
goes into columns of 64 bits and into the store. Owns the bounds; whether what is said is true, or
wise, is the actors' business.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from itertools import chain
from typing import Any

from cube.messages import Assign, Fact, NodeInfo, Report, SetAside, Wanted
from cube.task import TaskName

LARGEST = 1 << 53  # of any number: exact as a float, and far from the edge of 64 bits
MOST_GPUS = 1024


def is_sound(message: Report | SetAside | Assign) -> bool:
    """Could an honest worker, or an honest manager, have sent that?"""
    match message:
        case Report():
            return _is_report(message)
        case Assign():
            return _is_assign(message)
    return True


def _is_assign(message: Assign) -> bool:
    times = (message.now, message.interval, message.lease, message.grace)
    counts = (message.generation.epoch, message.generation.number, *message.answers)
    return (
        all(map(_is_wanted, message.tasks))
        and all(_is_uid(uid) and _are_counts((attempt,)) for uid, attempt in message.keep)
        and all(0 <= time < LARGEST for time in times)
        and _are_counts(counts)
    )


def _is_wanted(wanted: Wanted) -> bool:
    counts = (wanted.attempt, wanted.version, wanted.restart, wanted.counted + 1)
    return (
        _is_uid(wanted.uid)
        and _are_counts(counts)
        and all(0 <= device < MOST_GPUS for device in wanted.gpus)
        and all(map(math.isfinite, wanted.failures))
        and all(-LARGEST < number < LARGEST for number in _numbers(wanted.spec))
    )


def _numbers(value: Any) -> Iterator[float]:
    """All that are in a spec."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _numbers(getattr(value, field.name))


def _is_report(message: Report) -> bool:
    echo = message.echoes
    return (
        all(map(_is_fact, message.facts))
        and all(_is_uid(use.uid) for use in message.usage)
        and (echo is None or echo.cluster == message.cluster)
        and (message.info is None or _is_info(message.info))
        and math.isfinite(message.now)
        and _are_counts(_counts(message))
    )


def _counts(report: Report) -> Iterator[int]:
    yield from (report.life, report.seq, report.cpu_load_milli, report.memory_load_mib)
    if report.echoes is not None:
        yield from (report.echoes.epoch, report.echoes.number)
    if report.machine is not None:
        yield from report.machine[:6]
    for use in report.usage:
        yield from (use.attempt, use.cpu_milli, use.memory_mib)


def _is_info(info: NodeInfo) -> bool:
    sizes = (info.cpu_milli, info.memory_mib, info.disk_mib)
    return _are_counts(sizes) and len(info.gpus) <= MOST_GPUS


def _is_fact(fact: Fact) -> bool:
    times = (*fact.failures, *(() if fact.retry_at is None else (fact.retry_at,)))
    ports = (number for port in fact.ports for number in (port.host, port.container))
    numbers = chain((fact.attempt, fact.restart, fact.version, fact.gpu_milli), fact.size, ports)
    return (
        _is_uid(fact.uid)
        and _are_counts(numbers)
        and (fact.exit_code is None or abs(fact.exit_code) < LARGEST)
        and all(0 <= device < MOST_GPUS for device in fact.gpus)
        and all(map(math.isfinite, times))
    )


def _is_uid(uid: str) -> bool:
    try:
        TaskName.parse(uid)
    except ValueError:
        return False
    return True


def _are_counts(numbers: Iterable[int]) -> bool:
    return all(0 <= number < LARGEST for number in numbers)
