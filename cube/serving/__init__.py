"""Serving HTTP from a thread: where to listen, TLS, streams that go on.

Knows neither routes nor who is let in. `listening` owns addresses and sockets, `bounded` how many
connections they have, `server` the thread, `boundary` what applications fail on, `streams`
responses that last.
"""

from cube.serving.listening import Listen, ListenError
from cube.serving.server import PEER, ServerThread

__all__ = ["PEER", "Listen", "ListenError", "ServerThread"]
