"""Which image a tag stands for: told once a task runs it, so that later ones run the same.

A pin is `repository@sha256:…` where the image has a digest of its registry, which every node can
pull; else `sha256:…`, its id on this engine, which means something only where that image is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from docker.api.client import APIClient
from docker.errors import APIError
from docker.utils import parse_repository_tag

from cube.engine.docker.look import Inspected


def image_of(api: APIClient, container: Inspected) -> str:
    """The pin of the image that a container was made from."""
    written, image_id = str(container["Config"]["Image"]), str(container["Image"])
    if written.startswith("sha256:"):
        return written
    try:
        look: Callable[[str], dict[str, Any]] = api.inspect_image
        digests = look(image_id).get("RepoDigests") or []
    except APIError:  # it was removed below its container
        digests = []
    repository = _familiar(parse_repository_tag(written)[0])
    return next((str(d) for d in digests if d.partition("@")[0] == repository), image_id)


def _familiar(repository: str) -> str:
    """As the engine writes names of the registry that it asks by default."""
    return repository.removeprefix("docker.io/").removeprefix("library/")
