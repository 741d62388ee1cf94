"""Coverage marks: which branches of the protocol a run has gone through.

A core calls `mark` where it does something that only a fault brings about. Marks decide nothing
and nothing reads them but the fault simulator, which fails a campaign in which one was hardly ever
hit: a promise that is never put to the test is not kept, only written down.
"""

from __future__ import annotations

from collections import Counter

MARKS = {
    "assign-of-older-manager": "a worker refused the word of an earlier manager",
    "assign-out-of-order": "a worker refused an older word of its manager",
    "assign-to-earlier-life": "a worker refused what answers an earlier life of it",
    "report-of-earlier-life": "the manager dropped a report of a worker that is no more",
    "report-gap": "the manager noticed that a report was lost, and asked for the whole truth",
    "whole-told-on-demand": "a worker told the whole truth because it was asked to",
    "changes-resent": "a worker repeated changes that nobody had answered",
    "whole-lacks-task": "a whole report lacked a task that its node had been assigned",
    "absence-means-nothing": "a whole report lacked a task that its sender cannot know of yet",
    "stopped-before-restart": "a task was stopped, of which a later run never came to be",
    "older-attempt-returned": "an old copy of a task that was placed anew showed up",
    "returned-task-believed": "a lost node came back before its task had been placed anew",
    "node-suspect": "a node missed its reports",
    "node-unconfirmed": "a node reports without confirming its assignment",
    "node-lost": "a node was lost",
    "node-declared-lost": "a node was lost because an operator said so",
    "drained-node-silent": "a drained node went silent, which says nothing about the manager",
    "drain-deadline": "a drain waited no longer, and stopped what was left",
    "drain-gathered": "a drained task was placed together with one that had stopped before it",
    "disk-full": "a node took no more tasks because its disk was nearly full",
    "disk-freed": "a node had room on its disk again",
    "node-removed": "a node that was gone for good was forgotten",
    "removed-node-joined": "a node that had been removed joined anew",
    "node-returned": "a lost node came back",
    "manager-cut-off": "most nodes were silent: the manager moved nothing",
    "last-to-return": "most nodes were silent until lately: one that still is was not lost yet",
    "manager-waits-patience": "a new manager waited as long as the one before it had promised",
    "epoch-overtaken": "a worker obeys a newer manager than this one: its store is old",
    "unknown-container": "a container that the store never knew was listed for recovery",
    "unknown-adopted": "an operator had unknown containers adopted as tasks",
    "unknown-left": "an unknown container could not be adopted as it was wished",
    "unknown-removed": "an operator had unknown containers removed",
    "lease-ended": "a worker stopped tasks whose lease had ended",
    "restart-fenced": "a restart that was due waited for its lease to be renewed",
    "start-declined": "a start that was wanted came under a lease that was over, and was declined",
    "stray-started": "a run that an earlier life of a worker had ordered started late",
    "lease-regained": "a stopped worker heard its manager again, and took its tasks up",
    "round-abandoned": "a round was not answered in time",
    "round-stale": "an answer to another round was dropped",
    "round-refused": "a decision was not applied, because the fleet had moved on",
    "asked-for-whole-job": "a node was looked for that takes all of a job that is kept together",
    "whole-job-waits": "no node took all of a job that is kept together",
    "scheduler-needs-fleet": "a scheduler held another fleet than the manager thought",
    "pinned-task-waited": "a task waited for the node that has its data",
    "dropped-attempt-wanted": "a worker had given up an attempt that was then wanted again",
    "budget-of-assign": "a worker took failures from an assignment that it did not know of",
    "restart-budget-spent": "a worker gave up on a task",
    "rescheduled-with-delay": "a task that failed on its node is placed anew later",
    "reschedule-budget-spent": "a task that failed everywhere is failed for good",
    "end-not-charged": "a run ended through no doing of its own",
    "end-counted-before": "a worker found an end that its manager had counted already",
    "exit-learnt-from-listing": "an end was learnt only when the engine listed what is there",
    "run-repeated": "a start that the engine never heard of was repeated",
    "container-disappeared": "a container that should run is not there",
    "engine-down": "an engine did not answer",
    "request-repeated": "a request got the answer that it had got before",
    "request-refused-store-down": "a request was refused because the store does not work",
    "save-failed": "a batch could not be saved, and its messages were held",
    "save-caught-up": "held messages left once their batch was saved",
    "rollout-halted": "a roll-out halted at an instance that did not come up",
}
hits: Counter[str] = Counter()


def mark(name: str) -> None:
    """Note that this branch was taken."""
    hits[name] += 1
