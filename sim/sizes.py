"""How large tasks are: a list of shapes, chosen by hand or made heavy-tailed."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from sim.description import Count, Description, Positive, Whole


class Shape(Description):
    """What a task reserves, and how often such tasks come (`weight`, relative)."""

    cpu_milli: Count
    memory_mib: Count
    disk_mib: Whole = 0
    weight: Positive = 1.0


# Chosen by hand after what is published about production clusters (Reiss et al., Heterogeneity
# and Dynamicity of Clouds at Scale, SoCC 2012; Verma et al., Borg, EuroSys 2015): sizes fall on a
# few round values, most tasks are small, the few large ones make most of the demand, and memory
# per core varies from one to sixteen GiB. Mean: 1.4 cores and 4.7 GiB.
_SHAPES: tuple[tuple[int, int, float], ...] = (
    (100, 256, 4),
    (250, 512, 7),
    (250, 2048, 5),
    (500, 512, 6),
    (500, 1024, 9),
    (500, 2048, 7),
    (500, 4096, 5),
    (1000, 1024, 6),
    (1000, 2048, 8),
    (1000, 4096, 8),
    (1000, 8192, 4),
    (1000, 16384, 2),
    (2000, 4096, 6),
    (2000, 8192, 5),
    (2000, 16384, 3),
    (4000, 4096, 3),
    (4000, 8192, 4),
    (4000, 16384, 3),
    (6000, 12288, 3),
    (6000, 24576, 2),
)
DEFAULT_SHAPES = tuple(Shape(cpu_milli=c, memory_mib=m, weight=w) for c, m, w in _SHAPES)


class HeavyTail(Description):
    """Sizes with a Pareto tail: P(CPU >= x) falls as x ** -alpha between two bounds.

    They lie on `steps` points that grow by equal factors, because a policy's scores are kept for
    each size that repeats; memory is the CPU times one of `memory_mib_per_core`, all as likely.
    """

    cpu_least_milli: Count = 100
    cpu_most_milli: Count = 16_000
    alpha: Positive = 1.2
    steps: Annotated[int, Field(strict=True, ge=2, le=100)] = 12
    memory_mib_per_core: Annotated[tuple[Count, ...], Field(min_length=1)] = (1024, 4096, 8192)

    @model_validator(mode="after")
    def _in_order(self) -> HeavyTail:
        if self.cpu_least_milli >= self.cpu_most_milli:
            raise ValueError("cpu_least_milli is not below cpu_most_milli")
        return self

    def shapes(self) -> tuple[Shape, ...]:
        """Every size with its weight."""
        ratio = self.cpu_most_milli / self.cpu_least_milli
        made = []
        for step in range(self.steps):
            factor = math.pow(ratio, step / (self.steps - 1))
            cpu = round(self.cpu_least_milli * factor)
            for per_core in self.memory_mib_per_core:
                memory = max(1, round(cpu * per_core / 1000))
                weight = math.pow(factor, -self.alpha)
                made.append(Shape(cpu_milli=cpu, memory_mib=memory, weight=weight))
        return tuple(made)
