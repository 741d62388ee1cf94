"""Images: which task needs which, how large they are, and what pulling one takes on a node."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sim.description import Description, Positive
from sim.streams import Streams


class Images(Description):
    """Images that jobs use: the k-th most popular one as often as k ** -alpha (Zipf).

    Sizes are log-uniform between two bounds. A node pulls one image at a time over its link, keeps
    it, and drops the least recently used ones when `cache_mib` is full.
    """

    count: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 200
    alpha: Annotated[float, Field(strict=True, ge=0, le=10)] = 1.0
    least_mib: Positive = 20.0
    most_mib: Positive = 2000.0
    pull_mib_per_second: Positive = 50.0
    cache_mib: Positive = 20_480.0

    @model_validator(mode="after")
    def _in_order(self) -> Images:
        if self.least_mib > self.most_mib:
            raise ValueError("least_mib is above most_mib")
        if self.most_mib > self.cache_mib:
            raise ValueError("cache_mib does not hold the largest image")
        return self

    def choose(self, streams: Streams, jobs: int) -> NDArray[np.int64]:
        """Int64[jobs]: the image of each job."""
        edges = np.cumsum([math.pow(k, -self.alpha) for k in range(1, self.count + 1)])
        drawn = streams.uniform("image", 0, jobs) * edges[-1]
        return np.asarray(np.searchsorted(edges[:-1], drawn, side="right"))

    def sizes_mib(self, streams: Streams) -> list[float]:
        """The size of each image."""
        ratio = self.most_mib / self.least_mib
        drawn = streams.uniform("image size", 0, self.count).tolist()
        return [self.least_mib * math.pow(ratio, share) for share in drawn]


class ImageCache:
    """The images of one node. Not Docker's layers: an image is there or it is not."""

    def __init__(self, images: Images, sizes_mib: list[float]) -> None:
        self._images = images
        self._sizes = sizes_mib
        self._ready: dict[int, float] = {}  # image -> when it is there; least recently used first
        self._held_mib = 0.0
        self._link_free = 0.0

    def wait_seconds(self, image: int, now: float) -> float:
        """How long a task that needs `image` waits for it from now on; pulls it if need be."""
        ready = self._ready.pop(image, None)
        if ready is None:
            ready = self._pull(image, now)
        self._ready[image] = ready
        return max(0.0, ready - now)

    def _pull(self, image: int, now: float) -> float:
        size = self._sizes[image]
        while self._held_mib + size > self._images.cache_mib:
            oldest = next(iter(self._ready))
            del self._ready[oldest]
            self._held_mib -= self._sizes[oldest]
        self._held_mib += size
        self._link_free = max(now, self._link_free) + size / self._images.pull_mib_per_second
        return self._link_free
