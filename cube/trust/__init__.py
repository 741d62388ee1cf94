"""Who is who between machines: an authority, certificates, join tokens, TLS contexts.

`certificates` makes and reads them, `authority` is the manager's side, `joining` the token that one
pastes and the worker's side, `contexts` turns identities into TLS. Nothing here speaks over a
network, and nothing decides who is let in: that is `cube.access`, which knows tokens and node keys.
Private keys are written for their owner only, each beside its certificate in one file that is
replaced whole, so that no crash leaves a key without its certificate.
"""

from cube.trust.authority import Authority
from cube.trust.certificates import Party, Role, TrustError, key_print, party_of
from cube.trust.identity import Identity
from cube.trust.joining import Joining, JoinToken

__all__ = [
    "Authority",
    "Identity",
    "JoinToken",
    "Joining",
    "Party",
    "Role",
    "TrustError",
    "key_print",
    "party_of",
]
