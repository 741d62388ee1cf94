"""The worker's HTTP API: what its manager says to it, and asks.

Served where TLS has demanded a certificate of the cluster, and open to its manager alone. Owns the
routes; an assignment goes to the worker as it is, output and commands to its engine.
"""

from cube.worker_api.app import make_worker_app
from cube.worker_api.state import Told

__all__ = ["Told", "make_worker_app"]
