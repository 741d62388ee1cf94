"""Whom the command line trusts to be the manager: CUBE_CA, else what the state directory holds.

CUBE_CA is a file with the authority's certificate, or that certificate's fingerprint: then it is
asked for, and compared before anything secret is said.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from cube.cli.exits import ExitCode, Failure
from cube.state_dir import StateDir

FINGERPRINT = "sha256:"
ADDRESS_REMEDY = "CUBE_ADDR names it: correct that, or start one there with --listen"
REMEDY = "`cube token create` prints what to set, on a machine that knows the manager"


def authority(address: str, state_dir: Path) -> str:
    """The certificate that vouches for the manager, in PEM; "" where there is no TLS.

    Raises:
        Failure: there is none, or the manager shows another.
    """
    if not address.startswith("https:"):
        return ""
    named = os.environ.get("CUBE_CA", "")
    if named.startswith(FINGERPRINT):
        return _asked(address, named.removeprefix(FINGERPRINT).lower())
    path = Path(named) if named else StateDir(state_dir).certificate_path
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        what = "nothing here says which manager to trust"
        remedy = f"set CUBE_CA: {REMEDY}"
        raise Failure(what, where=str(path), remedy=remedy, code=ExitCode.NOT_ALLOWED) from None


def fingerprint(certificate: str) -> str:
    """What `CUBE_CA` may be instead of a file."""
    import ssl

    return FINGERPRINT + sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


def _asked(address: str, wanted: str) -> str:
    """The certificate with that fingerprint, as the manager tells it."""
    from cube.remote.line import Line, Place, Refused, Unreachable
    from cube.trust.contexts import first_contact

    where = urlsplit(address)
    line = Line(Place(where.hostname or "", where.port or 443), first_contact())
    try:
        found = line.call("GET", "/v1/authority").decode("ascii", "replace")
    except Unreachable as error:
        what = f"no manager answers: {error}"
        raise Failure(what, remedy=ADDRESS_REMEDY, code=ExitCode.NO_MANAGER) from None
    except Refused as error:
        raise Failure(str(error), remedy=error.remedy or ADDRESS_REMEDY) from None
    finally:
        line.close()
    try:
        same = fingerprint(found) == FINGERPRINT + wanted
    except ValueError:
        same = False
    if not same:
        what = f"what answers at {address} is not the manager that CUBE_CA names"
        raise Failure(what, remedy=f"correct CUBE_ADDR or CUBE_CA: {REMEDY}", code=7)
    return found
