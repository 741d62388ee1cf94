"""Tokens, and the keys of nodes: who is let in is saved before anybody is told that they are.

Owns when a token or a node's key is taken into the books. Who may pass is decided by `cube.access`,
here for machines that join, at the edge for every request.
"""

from __future__ import annotations

from cube.access import admit_join
from cube.manager.ledger import Ledger
from cube.messages import Access, CreateToken, Enrol, LookAccess, RemoveToken, Reply
from cube.task import NodeKey, Token

_STATUS = {"unknown": "forbidden", "expired": "forbidden", "taken": "conflict"}


class Doors:
    """Takes requests about who is let in."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def look(self, look: LookAccess) -> Reply:
        """What doors need to know."""
        ledger = self._ledger
        access = Access(tuple(ledger.tokens.values()), dict(ledger.node_keys))
        return Reply(look.request, "ok", "", access)

    def create(self, create: CreateToken) -> Reply:
        """Take in a token, unless its name is taken."""
        ledger, name = self._ledger, create.name
        if name in ledger.tokens:
            return Reply(create.request, "conflict", f"there is a token {name} already")
        expires = None if create.seconds is None else ledger.now + create.seconds
        ledger.put_token(Token(name, create.scope, create.digest, ledger.now, expires))
        text = f"the token {name} was made ({create.scope})"
        ledger.event("token.created", text)
        return Reply(create.request, "created", text, {"token": name, "expires": expires})

    def remove(self, remove: RemoveToken) -> Reply:
        """Forget a token."""
        name = remove.name
        if name not in self._ledger.tokens:
            return Reply(remove.request, "not-found", f"there is no token {name}")
        self._ledger.forget_token(name)
        text = f"nobody is let in by the token {name} any more"
        self._ledger.event("token.removed", text)
        return Reply(remove.request, "ok", text, {"token": name})

    def enrol(self, enrol: Enrol) -> Reply:
        """Take in a machine as a node, if its token is good and the name is free."""
        ledger, node = self._ledger, enrol.node
        refusal = admit_join(
            ledger.tokens.values(), ledger.node_keys, node, enrol.key, enrol.join, ledger.now
        )
        if refusal is not None:
            text = f"{refusal.text} {refusal.remedy}"
            return Reply(enrol.request, _STATUS[refusal.kind], text)
        again = node in ledger.node_keys
        ledger.put_node_key(NodeKey(node, enrol.key, enrol.digest, ledger.now))
        text = f"{node} was given a new identity" if again else f"{node} was let into the cluster"
        ledger.event("node.enrolled", text, node=node)
        return Reply(enrol.request, "created", text, {"node": node})
