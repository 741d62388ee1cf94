"""The state directory: where a cluster's store, token and address lie.

    DIR/store.sqlite     jobs, tasks, events (see `cube.store`, which also locks it)
    DIR/token            the bearer token, made at first start, mode 0600
    DIR/address          where the running manager listens; there only while it runs
    DIR/engine/          what engines keep
    DIR/ca.pem           the authority's key and certificate, mode 0600 (see `cube.trust`)
    DIR/ca.crt           the authority's certificate alone: what users trust
    DIR/manager.pem      the manager's own
    DIR/registries.json  credentials of image registries, mode 0600 (see `cube.registries`)

Owns the layout and these small files. Never opens the store.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
from dataclasses import dataclass
from pathlib import Path

REGISTRIES = "registries.json"
BESIDE = ("token", "ca.pem", "ca.crt", "manager.pem", REGISTRIES)  # the store: what else is kept


class StateDirError(Exception):
    """The state directory cannot be used; the text says why and what to do."""


def default_state_dir() -> Path:
    """`$CUBE_STATE_DIR`, else `cube` in the user's state directory (XDG)."""
    return _chosen("CUBE_STATE_DIR", "cube")


def default_worker_dir() -> Path:
    """`$CUBE_WORKER_DIR`, else `cube-worker` in the user's state directory."""
    return _chosen("CUBE_WORKER_DIR", "cube-worker")


def _chosen(variable: str, name: str) -> Path:
    if chosen := os.environ.get(variable):
        return Path(chosen)
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / name


@dataclass(frozen=True, slots=True)
class StateDir:
    """One cluster's directory."""

    path: Path

    @property
    def store_path(self) -> Path:
        """The SQLite file."""
        return self.path / "store.sqlite"

    @property
    def engine_path(self) -> Path:
        """Where engines keep what they need."""
        return self.path / "engine"

    @property
    def token_path(self) -> Path:
        """The bearer token."""
        return self.path / "token"

    @property
    def address_path(self) -> Path:
        """Where the running manager listens."""
        return self.path / "address"

    @property
    def authority_path(self) -> Path:
        """The key and the certificate with which the manager signs others."""
        return self.path / "ca.pem"

    @property
    def certificate_path(self) -> Path:
        """What users trust; it is no secret."""
        return self.path / "ca.crt"

    @property
    def manager_path(self) -> Path:
        """The manager's own key and certificate."""
        return self.path / "manager.pem"

    @property
    def registries_path(self) -> Path:
        """Credentials of image registries."""
        return self.path / REGISTRIES

    @property
    def cluster_id(self) -> str:
        """16 hex digits, the same for the same directory on the same machine."""
        text = f"{_machine()}\n{self.path.absolute()}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def prepare(self) -> None:
        """Make the directory, for its owner only, and see that it can be written to.

        Raises:
            StateDirError: it is a file, read-only, full, or somebody else's.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self.path / f".probe-{os.getpid()}"
            _write(probe, "x" * 4096)
            probe.unlink()
        except OSError as error:
            raise StateDirError(
                f"The state directory {self.path} cannot be written to: {error.strerror}.\n"
                "Free it, change its owner, or choose another with --state-dir DIR."
            ) from error

    def token(self) -> str | None:
        """The token, or None if there is none yet.

        Raises:
            StateDirError: it is there and cannot be read.
        """
        try:
            return self.token_path.read_text(encoding="ascii").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StateDirError(
                f"The token in {self.token_path} cannot be read: {error}.\n"
                "Only the user who started Cube may read it: run as that user."
            ) from error

    def make_token(self) -> str:
        """The token; made, readable by its owner only, if there is none."""
        token = self.token()
        if token is None:
            token = secrets.token_urlsafe(32)
            replace_file(self.token_path, token + "\n")
        return token

    def address(self) -> str | None:
        """The URL that a running manager wrote, or None."""
        try:
            return self.address_path.read_text(encoding="ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def write_address(self, url: str) -> None:
        """Tell clients where we listen."""
        replace_file(self.address_path, url + "\n")

    def remove_address(self) -> None:
        """Nobody listens any more."""
        self.address_path.unlink(missing_ok=True)


def _machine() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            return Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
    return platform.node()


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, text: str) -> None:
    """Readers see the old text or the new one, after a power loss too; nobody else sees either."""
    fresh = path.with_name(f".{path.name}.fresh")  # what a crash leaves is written over
    _write(fresh, text)
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
