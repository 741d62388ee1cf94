"""Job files: Compose, as far as Cube supports it, plus `x-cube`, read into `cube.spec`.

    reading = read_job("shop.compose.yaml", os.environ)
    reading.job, reading.warnings

A file's way: text -> nodes (`loader`) -> data with places (`document`) -> what was written
(`models`) -> checks across services (`checks`) -> a JobSpec (`translate`). All problems are told
at once. Nothing here talks to a cluster, an engine or a registry.
"""

from cube.compose.options import job_from_options
from cube.compose.problem import Problem, SpecError
from cube.compose.reading import MAX_BYTES, Reading, read_job
from cube.compose.schema import json_schema, support_matrix

__all__ = [
    "MAX_BYTES",
    "Problem",
    "Reading",
    "SpecError",
    "job_from_options",
    "json_schema",
    "read_job",
    "support_matrix",
]
