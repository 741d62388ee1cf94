"""Removes images that Cube pulled once nobody has used them for a day and the disk fills up.

Owns a file that says what was pulled here and when it was last used. What somebody else brought to
the engine, by whatever name, is never touched: only names that a pull of ours made are taken away,
and never while a container of anybody needs them.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError, ImageNotFound

log = logging.getLogger(__name__)

UNUSED_SECONDS = 86_400.0
DISK_SHARE = 0.8  # above which images go
SWEEP_SECONDS = 600.0

Clock = Callable[[], float]  # seconds since 1970: it must go on while the machine is down


class PulledImages:
    """What one engine pulled for one node."""

    def __init__(
        self,
        api: APIClient,
        file: Path,
        disk_share: Callable[[], float],
        now: Clock = time.time,
    ) -> None:
        """`disk_share` tells how full the disk is that images fill, from 0 to 1."""
        self._api, self._file = api, file
        self._disk_share, self._now = disk_share, now
        self._lock = threading.Lock()
        self._used = _read(file)  # when each was used last, by the name that was pulled

    def add(self, image: str) -> None:
        """A pull of ours has brought it; before, the engine had nothing of that name."""
        with self._lock:
            self._used[image] = self._now()
            self._write()

    def sweep(self) -> None:
        """Note what is in use; remove what has not been for long, if the disk is that full."""
        with self._lock:
            ids = {image: self._id_of(image) for image in self._used}
            in_use = {c["ImageID"] for c in self._api.containers(all=True)}
            before, now = dict(self._used), self._now()
            for image, image_id in ids.items():
                if image_id is None:
                    del self._used[image]  # somebody has removed it
                elif image_id in in_use:
                    self._used[image] = now
            if self._disk_share() > DISK_SHARE:
                old = [i for i, at in self._used.items() if now - at >= UNUSED_SECONDS]
                for image in old:
                    self._remove(image)
            if self._used != before:
                self._write()

    def _id_of(self, image: str) -> str | None:
        look: Callable[[str], dict[str, Any]] = self._api.inspect_image
        try:
            return str(look(image)["Id"])
        except ImageNotFound:
            return None

    def _remove(self, image: str) -> None:
        try:
            self._api.remove_image(image)  # without force: what is needed stays
        except ImageNotFound:
            pass
        except APIError as error:
            log.info("image %s stays: %s", image, error.explanation)
            return
        log.info("image %s was removed: unused for a day, and the disk is nearly full", image)
        del self._used[image]

    def _write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._used))
        new.rename(self._file)


def _read(file: Path) -> dict[str, float]:
    """What the file says; a file that is lost or damaged only means that images stay."""
    try:
        body = json.loads(file.read_text())
        return {str(image): float(at) for image, at in body.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
