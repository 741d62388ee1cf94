"""The named mutants: ways in which real orchestrators failed, each planted into a core.

A mutant is a patch or two of a core's source, a line on the failure that it stands for, and who
has to notice it: runs of the fault simulator where what users see goes wrong, else a test. A patch
whose fragment is gone fails loudly: change it together with the code.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.mutants.judge import Case, Killer, Seeds, Suite
from tests.mutants.source import Patch, patched

SEEDS = range(1, 21)  # tried after the one that is known to notice a mutant soonest


@dataclass(frozen=True, slots=True)
class Named:
    """One planted failure."""

    name: str
    failure: str
    patches: tuple[Patch, ...]
    killer: Killer

    @property
    def soonest(self) -> Killer:
        """Who is known to notice it; others are tried only once that has changed."""
        if isinstance(self.killer, Suite):
            return self.killer
        return Seeds(self.killer.scenario, self.killer.seeds[:1])

    @property
    def case(self) -> Case:
        """What is to be judged.

        Raises:
            Stale: the code has changed under a patch.
        """
        return Case(self.name, patched(self.patches), (self.killer,))


def by_seeds(scenario: str, first: int) -> Seeds:
    """Seeds of a scenario, beginning with the one that is known to notice."""
    return Seeds(scenario, (first, *(seed for seed in SEEDS if seed != first)))


def by_test(name: str) -> Suite:
    """One test by its id."""
    return Suite((name,))


NAMED = [
    # --- placement ---
    Named(
        "nothing-fits",
        "A task that fits nowhere is dropped instead of being parked.",
        (
            Patch(
                "cube.manager.rounds",
                "        self.queue.park(key, replace(demand, service=job) if demand.together",
                "        _ = (replace(demand, service=job) if demand.together",
            ),
        ),
        by_seeds("crashes", 1),
    ),
    Named(
        "refused-placement",
        "A decision that no longer fits is dropped and its task not asked about again.",
        (
            Patch(
                "cube.manager.rounds",
                "self.queue.push(key)  # the fleet or the task moved on since the question",
                "pass",
            ),
        ),
        by_test("tests/unit/test_manager.py::test_answer_that_no_longer_fits_is_asked_again"),
    ),
    Named(
        "lost-round",
        "The tasks of a round that nobody answered are not asked about again.",
        (
            Patch(
                "cube.manager.rounds",
                "        for asked in self._asked.values():\n"
                "            self.queue.push(asked.key)\n"
                "        self._asked.clear()\n\n"
                "    def _wake",
                "        self._asked.clear()\n\n    def _wake",
            ),
        ),
        by_seeds("crashes", 6),
    ),
    Named(
        "old-score",
        "A node whose score is not fresh wins: what changed on a row is not scored again.",
        (
            Patch(
                "cube.placement.scores",
                "            if changed is not None and changed.size < fleet.count:\n"
                "                return changed",
                "            return _NO_ROWS",
            ),
            Patch(
                "cube.placement.scores",
                "_NO_SCORES: Final = np.empty(0)",
                "_NO_SCORES: Final = np.empty(0)\n_NO_ROWS: Final = np.empty(0, np.intp)",
            ),
        ),
        by_seeds("crashes", 1),
    ),
    Named(
        "no-score",
        "A node that was never scored, because the task does not fit there, wins.",
        (
            Patch(
                "cube.placement.scores",
                "                self._scores[rows] = np.inf\n",
                "                self._scores[rows] = -1.0\n",
            ),
        ),
        by_seeds("crashes", 1),
    ),
    Named(
        "not-taken",
        "Allocations are never written back.",
        (
            Patch(
                "cube.manager.ledger",
                "        if holds and not held:\n            self._take(new)\n",
                "",
            ),
        ),
        by_seeds("crashes", 1),
    ),
    Named(
        "not-given-back",
        "Allocations are never given back.",
        (
            Patch(
                "cube.manager.ledger",
                "        if held and not holds:\n            self._give(task)\n",
                "        if held and not holds:\n",
            ),
        ),
        by_seeds("crashes", 1),
    ),
    Named(
        "late-round-over-commits",
        "A round that is applied late is not checked against the fleet as it is by then.",
        (
            Patch(
                "cube.manager.rounds",
                "return fleet.fits(row, demand, decision.gpus) and demand ==",
                "return demand ==",
            ),
        ),
        by_seeds("crashes", 13),
    ),
    Named(
        "stale-round",
        "The answer to a round that was given up is applied.",
        (
            Patch(
                "cube.manager.rounds",
                "if message.round != self._round or self._place is None:",
                "if self._place is None:",
            ),
            Patch(
                "cube.manager.rounds",
                "        asked = self._asked.pop(decision.uid)\n",
                "        asked = self._asked.pop(decision.uid, None)\n"
                "        if asked is None:\n"
                "            return\n",
            ),
        ),
        by_test("tests/unit/test_manager.py::test_stale_round_changes_nothing"),
    ),
    Named(
        "torn-job",
        "A task of a job that is kept together is placed where it fits, wherever the rest is.",
        (
            Patch(
                "cube.manager.together",
                "    return ranked[0][1] if ranked else None\n",
                "    return None\n",
            ),
        ),
        by_seeds("together", 1),
    ),
    Named(
        "suspect-node",
        "A node that has missed its reports is given new tasks.",
        (
            Patch(
                "cube.manager.nodes",
                "works = entry.state is NodeState.ALIVE and entry.trusted",
                "works = entry.state is not NodeState.LOST and entry.trusted",
            ),
        ),
        by_seeds("network", 1),
    ),
    Named(
        "node-joins",
        "Pending tasks are not tried again when a node joins or comes back.",
        (
            Patch(
                "cube.manager.nodes",
                "            self._ledger.opened = True\n"
                "            self._ledger.gained[row] = None\n",
                "            pass\n",
            ),
        ),
        by_seeds("crashes", 1),
    ),
    Named(
        "task-ends",
        "Pending tasks are not tried again when a task ends and leaves room.",
        (
            Patch(
                "cube.manager.ledger",
                "        self.gained[row] = None\n        if demand.ports:",
                "        if demand.ports:",
            ),
        ),
        by_seeds("scarce", 1),
    ),
    # --- what the manager tells, and remembers ---
    Named(
        "stale-assign",
        "A worker obeys an older word of its manager.",
        (
            Patch(
                "cube.worker",
                "if mine is not None and assign.generation < mine:",
                "if False and mine is not None:",
            ),
        ),
        by_seeds("network", 1),
    ),
    Named(
        "repeated-submit",
        "A request that is sent again is carried out again.",
        (
            Patch(
                "cube.manager",
                "known = self._ledger.answers.get(message.request)",
                "known = None",
            ),
        ),
        by_seeds("crashes", 1),
    ),
    Named(
        "forgotten-places",
        "A manager that restarts has forgotten which task is on which node.",
        (
            Patch(
                "cube.manager.ledger",
                "key=lambda t: t.incarnation):\n            self._index(self._as_wanted(task))",
                "key=lambda t: t.incarnation):\n"
                "            if task.state.placed:\n"
                "                task = replace(task, state=State.PENDING, node=None)\n"
                "            self._index(task)",
            ),
        ),
        by_seeds("crashes", 1),
    ),
    Named(
        "sends-before-saves",
        "What was decided is told before it is durable.",
        (
            Patch(
                "cube.actor",
                "        saves = [e for e in effects if isinstance(e, Save)]\n",
                "        saves = [e for e in effects if isinstance(e, Save)]\n"
                "        self._send(effects)\n"
                "        effects = list(saves)\n",
            ),
        ),
        by_seeds("stores", 2),
    ),
    Named(
        "empty-store",
        "A manager whose store is empty removes everything that it does not know.",
        (
            Patch(
                "cube.manager.facts",
                "    latest = ledger.forgotten.get(fact.uid)\n",
                "    return True\n    latest = ledger.forgotten.get(fact.uid)\n",
            ),
        ),
        by_seeds("stores", 2),
    ),
    Named(
        "round-put-off",
        "What was put off while the store did not work is never begun.",
        (
            Patch(
                "cube.manager",
                "                self._rounds.begin(may_ask=not self._store_down)\n",
                "                if not self._store_down:\n"
                "                    self._rounds.begin(may_ask=True)\n",
            ),
        ),
        by_seeds("queued", 11),
    ),
    # --- failures of tasks ---
    Named(
        "endless-restarts",
        "A task that fails is restarted for ever, whatever its budget.",
        (
            Patch(
                "cube.worker.runs",
                "if policy.attempts is not None and len(held.failures) > policy.attempts:",
                "if False:",
            ),
        ),
        by_seeds("engines", 2),
    ),
    Named(
        "same-node",
        "A task whose node is lost is placed again only on that node.",
        (
            Patch("cube.manager.ledger", '{"node": None, "handle": ""', '{"handle": ""'),
            Patch(
                "cube.manager.ledger",
                "tied = task.index if task.spec.kind.is_global else None",
                "tied = task.index if task.spec.kind.is_global else task.node",
            ),
        ),
        by_seeds("crashes", 17),
    ),
    Named(
        "never-requeued",
        "The tasks of a lost node are never placed elsewhere.",
        (
            Patch(
                "cube.manager.nodes",
                "            lose_task(self._ledger, task, entry.name)",
                "            pass",
            ),
        ),
        by_seeds("crashes", 1),
    ),
    Named(
        "reboot-completes",
        "A batch task that a reboot cut short passes for completed.",
        (
            Patch(
                "cube.worker.runs",
                "self.interrupted = exited.interrupted or self.fenced",
                "self.interrupted = self.fenced",
            ),
        ),
        by_seeds("scarce", 11),
    ),
    Named(
        "lost-exit-code",
        "The exit code of a task is lost on its way to the user.",
        (Patch("cube.manager.facts", '"exit_code": fact.exit_code,', '"exit_code": None,'),),
        by_seeds("crashes", 1),
    ),
    # --- two copies ---
    Named(
        "both-copies",
        "After a partition both the old copy and its replacement are kept.",
        (
            Patch(
                "cube.manager.facts",
                "        return True  # an old copy; the next Assign omits it",
                "        return fact.phase is Phase.ENDED or task.state.final",
            ),
        ),
        by_seeds("network", 1),
    ),
    Named(
        "wrong-copy",
        "After a partition the old copy is kept and its replacement killed.",
        (
            Patch(
                "cube.manager.facts",
                '            mark("older-attempt-returned")\n',
                '            mark("older-attempt-returned")\n'
                "            if task.state.placed:\n"
                '                task = ledger.move(task, TaskEvent.RESCHEDULED, reason="")\n'
                "                task = ledger.move(task, TaskEvent.PLACED, node=report.node)\n"
                "                ledger.amend(task, attempt=fact.attempt)\n",
            ),
        ),
        by_seeds("network", 1),
    ),
    Named(
        "endless-lease",
        "A worker that nobody answers goes on running what must not run twice.",
        (
            Patch(
                "cube.worker.lease",
                "        bound = [h for h in held if _is_bound(h)]\n",
                "        bound: list[Held] = []\n",
            ),
            Patch(
                "cube.worker.lease",
                "return self._since + self.seconds if self._watched else FOREVER",
                "return FOREVER",
            ),
        ),
        by_seeds("network", 3),
    ),
    Named(
        "short-grace",
        "A node is declared lost before the lease of its tasks has ended.",
        (
            Patch(
                "cube.manager.entry",
                "(lease + FENCE_SECONDS) * (1 + DRIFT) / (1 - DRIFT)",
                "lease / 2",
            ),
        ),
        by_seeds("network", 3),
    ),
    # --- stops and drains ---
    Named(
        "forgotten-stop",
        "A stop is forgotten when the node is away: its task is placed anew.",
        (Patch("cube.task", '(_X, _E.LOST): "then"', "(_X, _E.LOST): _P"),),
        by_seeds("crashes", 5),
    ),
    Named(
        "no-kill",
        "A worker forgets to stop what nobody wants any more.",
        (
            Patch(
                "cube.worker",
                "            self._send(self._engine, Kill(held.key, grace))\n",
                "",
            ),
        ),
        by_seeds("network", 1),
    ),
    Named(
        "endless-drain",
        "A drain never ends: each move waits for instances that have ended for good.",
        (
            Patch(
                "cube.manager.drain",
                "        if task.state.final or is_ending(task):\n            return False\n",
                "        if is_ending(task):\n            return False\n"
                "        if task.state.final:\n            return True\n",
            ),
        ),
        by_seeds("operators", 3),
    ),
]
