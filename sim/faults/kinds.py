"""The faults: what each does to a cluster, and what ends it.

A kind is one function and one line above it. It is given the ordeal and the fault, strikes, and
returns what ends it; `None` if it ends by itself. Nothing else has to know of it: scenarios name
it under `[rates]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cube.messages import MANAGER, SCHEDULER, engine_name, worker_name
from sim.faults.engine import Reboot, Strike, Trouble
from sim.faults.plan import Fault
from sim.faults.world import CONTROL

if TYPE_CHECKING:
    from sim.faults.ordeal import Ordeal

LOOK_SECONDS = 1.0  # between two looks at the nodes of a fault that waits for its moment
RESTART_SECONDS = 0.3  # that a worker takes
REBOOT_SECONDS = 5.0  # that a machine takes
Place = TypeVar("Place")
End = Callable[[], None] | None
Begin = Callable[["Ordeal", Fault], End]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. `lasts` are the shortest and the longest time in seconds."""

    name: str
    begin: Begin
    lasts: tuple[float, float]

    @property
    def about(self) -> str:
        """What it does, in a line."""
        return (self.begin.__doc__ or "").partition("\n")[0]


KINDS: dict[str, Kind] = {}


def fault(name: str, lasts: tuple[float, float] = (0.0, 0.0)) -> Callable[[Begin], Begin]:
    """Make a function a kind of fault."""

    def enter(begin: Begin) -> Begin:
        KINDS[name] = Kind(name, begin, lasts)
        return begin

    return enter


# --- the network -------------------------------------------------------------------------


@fault("partition", lasts=(2.0, 90.0))
def partition(ordeal: Ordeal, fault: Fault) -> End:
    """A node and the manager cannot reach each other."""
    node = ordeal.some_node(fault)
    return ordeal.cut([(node, CONTROL), (CONTROL, node)])


@fault("one-way-partition", lasts=(2.0, 90.0))
def one_way_partition(ordeal: Ordeal, fault: Fault) -> End:
    """Messages pass in one direction only."""
    draw = fault.random()
    node = draw.choice(ordeal.nodes)
    return ordeal.cut([(node, CONTROL) if draw.random() < 0.5 else (CONTROL, node)])


@fault("rack-partition", lasts=(5.0, 90.0))
def rack_partition(ordeal: Ordeal, fault: Fault) -> End:
    """A whole rack is cut off."""
    rack = fault.random().choice(ordeal.racks)
    return ordeal.cut([link for node in rack for link in ((node, CONTROL), (CONTROL, node))])


@fault("manager-partition", lasts=(5.0, 120.0))
def manager_partition(ordeal: Ordeal, fault: Fault) -> End:
    """The manager's own link is down."""
    return ordeal.cut([link for n in ordeal.nodes for link in ((n, CONTROL), (CONTROL, n))])


@fault("slow-node", lasts=(5.0, 60.0))
def slow_node(ordeal: Ordeal, fault: Fault) -> End:
    """Everything to and from a node takes seconds."""
    draw = fault.random()
    node = draw.choice(ordeal.nodes)
    seconds = draw.uniform(0.5, 3.0)
    slow = ordeal.network.slow
    slow[node] = slow.get(node, 0.0) + seconds

    def end() -> None:
        slow[node] = max(0.0, slow[node] - seconds)

    return end


# --- machines and processes --------------------------------------------------------------


@fault("worker-crash", lasts=(0.2, 60.0))
def worker_crash(ordeal: Ordeal, fault: Fault) -> End:
    """A worker's process dies; its containers go on."""
    node = ordeal.some_node(fault)
    ordeal.take_down(node)
    return lambda: ordeal.bring_up(node)


@fault("node-reboot", lasts=(1.0, 60.0))
def node_reboot(ordeal: Ordeal, fault: Fault) -> End:
    """A machine restarts: nothing runs any more, ended containers are still there."""
    return _reboot(ordeal, [ordeal.some_node(fault)], wiped=False)


@fault("node-wiped", lasts=(1.0, 60.0))
def node_wiped(ordeal: Ordeal, fault: Fault) -> End:
    """A machine comes back with an empty disk."""
    return _reboot(ordeal, [ordeal.some_node(fault)], wiped=True)


@fault("rack-reboot", lasts=(5.0, 60.0))
def rack_reboot(ordeal: Ordeal, fault: Fault) -> End:
    """A rack loses its power."""
    return _reboot(ordeal, fault.random().choice(ordeal.racks), wiped=False)


def _reboot(ordeal: Ordeal, nodes: Iterable[str], *, wiped: bool) -> End:
    nodes = tuple(nodes)
    for node in nodes:
        ordeal.reboot(node, Reboot(wiped))

    def end() -> None:
        for node in nodes:
            ordeal.bring_up(node)

    return end


@fault("worker-pause", lasts=(1.0, 60.0))
def worker_pause(ordeal: Ordeal, fault: Fault) -> End:
    """A worker's process stands still and goes on later, with old beliefs."""
    return ordeal.freeze(worker_name(ordeal.some_node(fault)))


@fault("node-pause", lasts=(1.0, 60.0))
def node_pause(ordeal: Ordeal, fault: Fault) -> End:
    """A whole machine stands still, containers and all, and goes on later with old beliefs."""
    node = ordeal.some_node(fault)
    return ordeal.freeze(worker_name(node), engine_name(node))


@fault("node-stalls", lasts=(9.0, 15.0))
def node_stalls(ordeal: Ordeal, fault: Fault) -> End:
    """A machine stands still for longer than a lease, but not for so long that it is lost."""
    return node_pause(ordeal, fault)


@fault("worker-restart", lasts=(0.05, 0.5))
def worker_restart(ordeal: Ordeal, fault: Fault) -> End:
    """A worker is restarted, as an update does; what it sent last may be on its way still."""
    return worker_crash(ordeal, fault)


@fault("worker-restart-starting", lasts=(5.0, 60.0))
def worker_restart_starting(ordeal: Ordeal, fault: Fault) -> End:
    """A worker is restarted just when a container of its is being started."""

    def restart(node: str) -> None:
        ordeal.take_down(node)
        ordeal.world.call_at(ordeal.world.now() + RESTART_SECONDS, lambda: ordeal.bring_up(node))

    return _at_first(ordeal, fault, ordeal.starting_nodes, restart)


@fault("stop-restarting", lasts=(5.0, 60.0))
def stop_restarting(ordeal: Ordeal, fault: Fault) -> End:
    """A machine restarts just when a container of its is started anew, and its job is stopped."""

    def strike(found: tuple[str, str]) -> None:
        node, job = found
        ordeal.reboot(node, Reboot(wiped=False))
        ordeal.user.stop_job(job)
        ordeal.world.call_at(ordeal.world.now() + REBOOT_SECONDS, lambda: ordeal.bring_up(node))

    return _at_first(ordeal, fault, ordeal.restarting, strike)


def _at_first(
    ordeal: Ordeal, fault: Fault, places: Callable[[], list[Place]], strike: Callable[[Place], None]
) -> End:
    """Strike one of `places` as soon as there are any; returns what ends the waiting."""
    draw, waits = fault.random(), [True]

    def look() -> None:
        found = places() if waits else []
        if found:
            strike(draw.choice(found))
        elif waits:
            ordeal.world.call_at(ordeal.world.now() + LOOK_SECONDS, look)

    look()
    return waits.clear


@fault("manager-crash", lasts=(0.1, 30.0))
def manager_crash(ordeal: Ordeal, fault: Fault) -> End:
    """The manager's process dies between two messages."""
    return ordeal.crash(MANAGER)


@fault("manager-crash-between", lasts=(0.1, 30.0))
def manager_crash_between(ordeal: Ordeal, fault: Fault) -> End:
    """The manager dies after a save and before the sends that belong to it."""
    return ordeal.crash_between(fault)


@fault("manager-restart", lasts=(0.05, 0.5))
def manager_restart(ordeal: Ordeal, fault: Fault) -> End:
    """The manager is restarted, as an update does; what it sent last may be on its way still."""
    return ordeal.crash(MANAGER)


@fault("manager-pause", lasts=(1.0, 40.0))
def manager_pause(ordeal: Ordeal, fault: Fault) -> End:
    """The manager stands still and goes on later, with old beliefs."""
    return ordeal.freeze(MANAGER)


@fault("scheduler-slow", lasts=(2.0, 20.0))
def scheduler_slow(ordeal: Ordeal, fault: Fault) -> End:
    """The scheduler takes longer than the manager's patience; its answers are late, not lost."""
    return ordeal.freeze(SCHEDULER)


@fault("scheduler-crash", lasts=(0.1, 20.0))
def scheduler_crash(ordeal: Ordeal, fault: Fault) -> End:
    """The scheduler's process dies, and with it what it knows of the fleet."""
    return ordeal.crash(SCHEDULER)


# --- the store ---------------------------------------------------------------------------


@fault("store-full", lasts=(1.0, 60.0))
def store_full(ordeal: Ordeal, fault: Fault) -> End:
    """Nothing can be saved."""
    return ordeal.break_store("no space left on the device")


@fault("store-flaky", lasts=(5.0, 60.0))
def store_flaky(ordeal: Ordeal, fault: Fault) -> End:
    """Every third save fails."""
    return ordeal.break_store("input/output error", every=3)


@fault("store-lost", lasts=(0.5, 20.0))
def store_lost(ordeal: Ordeal, fault: Fault) -> End:
    """The manager comes back with an empty store."""
    return ordeal.replace_store(fault, lost=True)


@fault("store-old", lasts=(0.5, 20.0))
def store_old(ordeal: Ordeal, fault: Fault) -> End:
    """The manager comes back with a store restored from an earlier time."""
    return ordeal.replace_store(fault, lost=False)


# --- engines -----------------------------------------------------------------------------


def _trouble(kind: Trouble) -> Begin:
    def begin(ordeal: Ordeal, fault: Fault) -> End:
        return ordeal.trouble(ordeal.some_node(fault), kind)

    return begin


def _engine_fault(name: str, kind: Trouble, lasts: tuple[float, float], about: str) -> None:
    begin = _trouble(kind)
    begin.__doc__ = about
    fault(name, lasts)(begin)


_engine_fault("engine-unreachable", "unreachable", (1.0, 60.0), "An engine does not answer.")
_engine_fault("kill-ignored", "deaf", (2.0, 60.0), "An engine ignores kills for a while.")
_engine_fault("exit-unseen", "quiet", (5.0, 60.0), "Ends are seen by the slow reconcile only.")
_engine_fault("start-fails", "refusing", (2.0, 30.0), "An engine cannot start anything.")
_engine_fault("disk-fills", "full", (5.0, 60.0), "A machine's disk is nearly full for a while.")
_engine_fault("image-missing", "imageless", (2.0, 30.0), "An image is nowhere to be had.")


@fault("engine-restart", lasts=(1.0, 20.0))
def engine_restart(ordeal: Ordeal, fault: Fault) -> End:
    """An engine restarts, and every container ends with it; its worker lives on."""
    node = ordeal.some_node(fault)
    ordeal.tell_engine(node, Reboot(wiped=False))
    return ordeal.trouble(node, "unreachable")


@fault("out-of-memory")
def out_of_memory(ordeal: Ordeal, fault: Fault) -> End:
    """A container dies of memory."""
    ordeal.tell_engine(ordeal.some_node(fault), Strike(vanish=False, draw=fault.random().random()))
    return None


@fault("container-vanishes")
def container_vanishes(ordeal: Ordeal, fault: Fault) -> End:
    """A container is gone, and no event tells."""
    ordeal.tell_engine(ordeal.some_node(fault), Strike(vanish=True, draw=fault.random().random()))
    return None


# --- users -------------------------------------------------------------------------------


@fault("user-stop")
def user_stop(ordeal: Ordeal, fault: Fault) -> End:
    """A user stops a job, whatever it is doing."""
    ordeal.user.stop(fault.random())
    return None


@fault("user-hasty")
def user_hasty(ordeal: Ordeal, fault: Fault) -> End:
    """A user submits a job and stops it while it is starting."""
    ordeal.user.submit_and_stop(fault.random())
    return None


@fault("user-submit")
def user_submit(ordeal: Ordeal, fault: Fault) -> End:
    """A user submits a job: a new one, or another version of one that is there."""
    ordeal.user.submit(fault.random())
    return None


@fault("user-scale")
def user_scale(ordeal: Ordeal, fault: Fault) -> End:
    """A user wants more or fewer instances."""
    ordeal.user.scale(fault.random())
    return None


@fault("user-drain", lasts=(20.0, 120.0))
def user_drain(ordeal: Ordeal, fault: Fault) -> End:
    """An operator drains a node, and enables it again later."""
    node = ordeal.some_node(fault)
    ordeal.user.drain(node, on=True)
    return lambda: ordeal.end_drain(node)


@fault("user-declares-lost", lasts=(5.0, 60.0))
def user_declares_lost(ordeal: Ordeal, fault: Fault) -> End:
    """An operator declares the next node lost that is silent, rightly or not."""
    return _at_first(ordeal, fault, ordeal.silent_nodes, ordeal.operator.declare_lost)


@fault("user-drain-deadline", lasts=(60.0, 120.0))
def user_drain_deadline(ordeal: Ordeal, fault: Fault) -> End:
    """An operator drains a node and waits only so long."""
    node = ordeal.some_node(fault)
    ordeal.user.drain(node, on=True, within=fault.random().uniform(0.0, 40.0))
    return lambda: ordeal.end_drain(node)


@fault("user-restart")
def user_restart(ordeal: Ordeal, fault: Fault) -> End:
    """A user restarts a job."""
    ordeal.user.restart(fault.random())
    return None


@fault("user-rollback")
def user_rollback(ordeal: Ordeal, fault: Fault) -> End:
    """A user makes a job what it was before."""
    ordeal.user.roll_back(fault.random())
    return None


@fault("user-label")
def user_label(ordeal: Ordeal, fault: Fault) -> End:
    """An operator gives a node the label that a global service asks for, or takes it away."""
    ordeal.operator.label(ordeal.some_node(fault))
    return None


@fault("user-remove-node")
def user_remove_node(ordeal: Ordeal, fault: Fault) -> End:
    """An operator says which nodes are lost, and removes those that are."""
    ordeal.operator.tidy_up()
    return None


@fault("user-repeat")
def user_repeat(ordeal: Ordeal, fault: Fault) -> End:
    """A user submits the same file once more."""
    ordeal.user.repeat(fault.random())
    return None


@fault("user-remove")
def user_remove(ordeal: Ordeal, fault: Fault) -> End:
    """A user removes a job."""
    ordeal.user.remove(fault.random())
    return None
