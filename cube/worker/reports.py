"""What the manager is told, and what it has not answered yet.

Owns the numbers of reports and the times at which the next ones are due: changes at once and again
until they are answered, the whole truth at the interval that the manager grants. It does not know
what a run is; facts come from the worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from cube.messages import Assign, Fact, Generation, NodeInfo, Report, resend_seconds

SENT_AT_MOST = 64  # unanswered reports whose sending time is remembered
FOREVER = float("inf")
Key = tuple[str, int]  # (uid, attempt)


class Reports:
    """One worker's side of the conversation."""

    def __init__(self, node: str, cluster: str) -> None:
        self._node = node
        self._cluster = cluster
        self.life = 0
        self.engine_error = ""  # carried by every report, as is the load
        self.load = (0, 0)  # milli-cores, MiB
        self._seq = 0
        self._interval = 1.0
        self._sent: dict[int, float] = {}  # when reports not yet answered were sent
        self._unanswered: dict[Key, int] = {}  # the report that last carried each fact
        self._resend_seconds = resend_seconds(self._interval)
        self._resend_at = FOREVER
        self._whole_at = FOREVER  # until the engine has listed what is there

    @property
    def due(self) -> float:
        """When something is to be told."""
        return min(self._whole_at, self._resend_at)

    @property
    def unanswered(self) -> int:
        """How many reports are remembered that nobody has answered."""
        return len(self._sent)

    @property
    def started(self) -> bool:
        """Has the whole truth been told once?"""
        return self._whole_at != FOREVER

    def whole_due(self, now: float) -> bool:
        """Is it time for the whole truth?"""
        return self._whole_at <= now

    def resend(self, now: float) -> tuple[Key, ...]:
        """Facts that were told and not answered in time, to be told again."""
        if self._resend_at > now:
            return ()
        self._resend_seconds = min(2 * self._resend_seconds, self._interval)
        return tuple(self._unanswered)

    def answered(self, assign: Assign) -> float | None:
        """Take an answer. Returns when the answered report was sent, if it is news."""
        self._interval = assign.interval
        life, seq = assign.answers
        sent = self._sent.get(seq) if life == self.life else None
        if sent is None:
            return None
        self._sent = {s: at for s, at in self._sent.items() if s > seq}
        if self._unanswered:
            self._unanswered = {k: s for k, s in self._unanswered.items() if s > seq}
        self._rest()
        return sent

    def _rest(self) -> None:
        """Once all is answered there is nothing to tell again."""
        if not self._unanswered:
            self._resend_at = FOREVER
            self._resend_seconds = resend_seconds(self._interval)

    def forget(self, key: Key) -> None:
        """There is nothing left to tell about it."""
        self._unanswered.pop(key, None)
        self._rest()

    def changes(
        self, keys: Iterable[Key], facts: Iterable[Fact], now: float, echoes: Generation | None
    ) -> Report:
        """A report of what changed."""
        self._number(now)
        for key in keys:
            self._unanswered[key] = self._seq
        self._resend_at = now + self._resend_seconds
        return self._report(facts, now, echoes, None)

    def whole(
        self, facts: Iterable[Fact], now: float, echoes: Generation | None, info: NodeInfo | None
    ) -> Report:
        """A report of everything; what it lacks is not there."""
        self._number(now)
        # Nodes that start together do not go on reporting together.
        share = 1.0 if self.started else crc32(self._node.encode()) / 2**32
        self._whole_at = now + max(self._interval * share, 0.001)
        if self._unanswered:
            self._unanswered = dict.fromkeys(self._unanswered, self._seq)
            self._resend_at = now + self._resend_seconds
        return self._report(facts, now, echoes, info, whole=True)

    def _number(self, now: float) -> None:
        self._seq += 1
        self._sent[self._seq] = now
        if len(self._sent) > SENT_AT_MOST:
            self._sent.pop(next(iter(self._sent)))

    def _report(
        self,
        facts: Iterable[Fact],
        now: float,
        echoes: Generation | None,
        info: NodeInfo | None,
        *,
        whole: bool = False,
    ) -> Report:
        return Report(
            self._node,
            self._cluster,
            self.life,
            self._seq,
            now,
            whole,
            echoes,
            tuple(facts),
            info,
            self.engine_error,
            *self.load,
        )
