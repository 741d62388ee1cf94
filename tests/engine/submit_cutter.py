"""A network that fails once, at the worst moment."""

from __future__ import annotations

import json
import socket
import threading


class Cut:
    """Stands between client and manager; cuts the connection after the first submit got through."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._manager = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.submits: list[str] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client, socket.create_connection(self._manager) as manager:
                self._pass_on(client, manager)

    def _pass_on(self, client: socket.socket, manager: socket.socket) -> None:
        while request := self._whole_request(client):
            manager.sendall(request)
            answer = self._whole_request(manager)
            if request.startswith(b"POST /v1/jobs "):
                body = json.loads(request.partition(b"\r\n\r\n")[2])
                self.submits.append(body["request"])
                if len(self.submits) == 1:
                    return
            client.sendall(answer)

    def _whole_request(self, peer: socket.socket) -> bytes:
        """A message with the body that its head announces."""
        data = b""
        while b"\r\n\r\n" not in data:
            if not (piece := peer.recv(65536)):
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [int(x[15:]) for x in head.lower().split(b"\r\n") if x[:15] == b"content-length:"]
        while lengths and len(body) < lengths[0]:
            piece = peer.recv(65536)
            data, body = data + piece, body + piece
        return data
