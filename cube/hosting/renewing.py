"""Renews what expires while a process runs: looks once an hour, in a thread of its own.

Owns when it is looked; whether something is due is known by its certificate. A renewal that fails
is tried again at the next look: a third of a certificate's life is left for that.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

log = logging.getLogger("cube")

LOOK_SECONDS = 3600.0


class Renewing:
    """Calls `renew` now and then until it is closed."""

    def __init__(self, renew: Callable[[], object], seconds: float = LOOK_SECONDS) -> None:
        self._renew = renew
        self._seconds = seconds
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cube-renewing", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(self._seconds):
            try:
                self._renew()
            except Exception as error:
                log.warning("the certificate could not be renewed, and will be: %s", error)


def reload(identity: Path, contexts: Iterable[ssl.SSLContext]) -> None:
    """Have new connections show what is kept there now."""
    for context in contexts:
        context.load_cert_chain(identity)
