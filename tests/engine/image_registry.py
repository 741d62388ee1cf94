"""A registry that serves one image, refuses, or knows nothing: just enough of the protocol."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


CODES = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}


class Registry:
    """Listens on the loopback interface. `status` other than 200 answers everything.

    With a `login` ("user:password") it serves only whoever says so.
    """

    def __init__(self, layer: bytes = b"", status: int = 200, login: str = "") -> None:
        blobs: dict[str, bytes] = {}

        def keep(data: bytes, kind: str) -> dict[str, object]:
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            blobs[digest] = data
            return {"mediaType": kind, "size": len(data), "digest": digest}

        diff = f"sha256:{hashlib.sha256(layer).hexdigest()}"
        rootfs = {"type": "layers", "diff_ids": [diff]}
        config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": keep(json.dumps(config).encode(), CONFIG),
            "layers": [keep(gzip.compress(layer), LAYER)],
        }
        self.digest = keep(json.dumps(manifest).encode(), MANIFEST)["digest"]
        handler = _handler(blobs, json.dumps(manifest).encode(), status, login)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def image(self, name: str) -> str:
        return f"{self.host}/{name}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(
    blobs: dict[str, bytes], manifest: bytes, status: int, login: str
) -> type[BaseHTTPRequestHandler]:
    basic = f"Basic {base64.b64encode(login.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            last = self.path.rpartition("/")[2]
            if status != 200:
                self._refuse(status)
            elif login and self.headers.get("Authorization") != basic:
                self._refuse(401)
            elif self.path == "/v2/":
                self._answer(200, b"{}")
            elif "/known/" in self.path and "/manifests/" in self.path:
                self._answer(200, manifest, MANIFEST)
            elif last in blobs:
                self._answer(200, blobs[last], "application/octet-stream")
            else:
                errors = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
                self._answer(404, json.dumps(errors).encode())

        do_HEAD = do_GET  # noqa: N815 (the name that the server looks for)

        def _refuse(self, status: int) -> None:
            self._answer(status, json.dumps({"errors": [{"code": CODES[status]}]}).encode())

        def _answer(self, code: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            self.send_header("Docker-Content-Digest", digest)
            if code == 401 and login:
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
