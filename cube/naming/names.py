"""Where services are reached, as the manager told it last.

Owns that copy: it is fetched when somebody asks and it is older than a moment, outlives the process
in a file, and goes on to be answered from while the manager is away.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from cube.state_dir import replace_file

log = logging.getLogger("cube")

FRESH_SECONDS = 2.0  # nothing older is answered while the manager can be asked
WAIT_SECONDS = 1.0  # so long may a question wait for the manager
RETRY_SECONDS = 5.0  # after it did not answer

Table: TypeAlias = Mapping[str, Mapping[str, tuple[str, ...]]]  # job -> service -> addresses
Fetch: TypeAlias = Callable[[str], bytes]  # from the version that is known; b"" if it is the newest


class Names:
    """Addresses of services, by job. Used from several threads."""

    def __init__(self, fetch: Fetch, file: Path) -> None:
        """`fetch` asks the manager; whatever it raises means that it did not answer."""
        self._fetch = fetch
        self._file = file
        self._table: Table | None = None  # None: nothing was ever told
        self._version = ""
        self._told_at = -FRESH_SECONDS
        self._away = False  # did it not answer when it was asked last?
        self._wanted = False
        self._closed = False
        self._changed = threading.Condition()
        with suppress(OSError, ValueError):
            self._table = _table(json.loads(file.read_text()))
        self._thread = threading.Thread(target=self._run, name="cube-names", daemon=True)
        self._thread.start()

    def addresses(self, job: str, service: str) -> tuple[str, ...] | None:
        """Where a service is reached; None if there is none of that name.

        Raises:
            LookupError: nobody has told yet.
        """
        with self._changed:
            if not self._is_fresh():
                self._wanted = True
                self._changed.notify_all()
                if not self._away:
                    self._changed.wait_for(lambda: self._is_fresh() or self._away, WAIT_SECONDS)
            table = self._table
        if table is None:
            raise LookupError
        return table.get(job.lower(), {}).get(service.lower())

    def close(self) -> None:
        """Ask nobody any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._told_at < FRESH_SECONDS

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._wanted)
                if self._closed:
                    return
                self._wanted = False
            self._refresh()

    def _refresh(self) -> None:
        try:
            told = self._fetch(self._version)
            if told:
                self._learn(json.loads(told))
        except Exception as error:  # whatever it is, names are not the worker's life
            self._miss(str(error) or type(error).__name__)
            return
        with self._changed:
            self._away, self._told_at = False, time.monotonic()
            self._changed.notify_all()

    def _learn(self, word: Any) -> None:
        table, version = _table(word["names"]), str(word["version"])
        with self._changed:
            self._table, self._version = table, version
        with suppress(OSError):  # a full disk: they are known all the same
            replace_file(self._file, json.dumps(word["names"]))

    def _miss(self, why: str) -> None:
        """The manager did not answer, or nothing that makes sense: ask again, but not at once."""
        with self._changed:
            if not self._away:
                log.warning("names of services stay as they were: %s", why)
            self._away = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed, RETRY_SECONDS)


def _table(told: Any) -> Table:
    """What was told, with addresses instead of the names of machines."""
    return {
        job.lower(): {
            service.lower(): tuple(dict.fromkeys(a for host in hosts for a in _resolved(host)))
            for service, hosts in services.items()
        }
        for job, services in told.items()
    }


def _resolved(host: str) -> Iterator[str]:
    """The addresses of a machine by which others can reach it."""
    try:
        found = [str(ipaddress.ip_address(host))]
    except ValueError:
        found = []
        with suppress(OSError):
            known = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found = [str(address[0]).partition("%")[0] for *_, address in known]
    return (address for address in found if not ipaddress.ip_address(address).is_loopback)
