"""A pod's life: the object, what is known of its containers, and the time -> what to do. Pure.

A container moves so; each arrow is one action of ``decide``::

    no attempt --Start--> running --ends--> ended --(restartPolicy, back-off) Start--> running
    running --Stop (SIGTERM)--> ending --Kill (SIGKILL, after the grace)--> ended

Source: k8s.io/kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go (computePodActions),
pkg/kubelet/container/helpers.go (ShouldContainerBeRestarted).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bessemer.base.clock import later, parse_time, remaining
from bessemer.cluster.kubelet.pods import eviction
from bessemer.cluster.kubelet.runtime.base import ContainerState, Observation
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import has_ended

BACKOFF_FIRST_SECONDS = 10
BACKOFF_MAX_SECONDS = 300
BACKOFF_RESET_SECONDS = 600
DEFAULT_GRACE_SECONDS = 30


@dataclass(frozen=True)
class Attempt:
    """One start of a container: its number (0 is the first) and what its folder tells."""

    number: int
    seen: Observation
    is_interrupted: bool = False  # ended by us, with the whole control plane

    @property
    def is_over(self) -> bool:
        """Whether it ended, seen or unseen."""
        return self.seen.state in (ContainerState.EXITED, ContainerState.LOST)

    @property
    def is_live(self) -> bool:
        """Whether its processes may run."""
        return self.seen.state is ContainerState.RUNNING

    @property
    def exit_code(self) -> int:
        """How it ended; one that nobody saw ending counts as killed."""
        return 137 if self.seen.state is ContainerState.LOST else self.seen.exit_code


@dataclass(frozen=True)
class WaitingReason:
    """Why a container can't start now, as its waiting state says it."""

    reason: str  # ErrImagePull, ImagePullBackOff, CreateContainerConfigError, ...
    message: str
    retry_at: datetime


@dataclass(frozen=True)
class Container:
    """What is known of one container now."""

    attempt: Attempt | None = None
    previous: Attempt | None = None
    trouble: WaitingReason | None = None
    is_starting: bool = False  # its image, volumes or processes are being prepared
    doing: str = ""  # what that takes its time with
    streak: int = 0  # restarts since it last ran long enough to be trusted
    is_started: bool = False  # the startup probe passed, or there is none
    is_ready: bool = False  # the readiness probe passes, or there is none
    unhealthy: str = ""  # why the startup or liveness probe wants its end
    stop_at: datetime | None = None  # SIGTERM was sent; SIGKILL is due then
    is_killed: bool = False  # SIGKILL was sent


NOTHING = Container()
View = Mapping[str, Container]


@dataclass(frozen=True)
class Start:
    """Prepare and start this attempt of a container."""

    container: str
    number: int
    streak: int


@dataclass(frozen=True)
class Abandon:
    """Give up preparing a container that has not started."""

    container: str


@dataclass(frozen=True)
class Stop:
    """Ask a container to end (SIGTERM); SIGKILL follows at the deadline."""

    container: str
    deadline: datetime
    why: str


@dataclass(frozen=True)
class Kill:
    """End all processes of a container (SIGKILL)."""

    container: str


@dataclass(frozen=True)
class Release:
    """The pod is over: what only running pods need (volumes) can go."""


@dataclass(frozen=True)
class Remove:
    """The pod was deleted and is over: its folder goes, then the object."""


Action = Start | Abandon | Stop | Kill | Release | Remove


@dataclass
class Plan:
    """What to do now, and when to look again even if nothing happens."""

    actions: list[Action] = field(default_factory=list)
    wake_at: datetime | None = None

    def wake(self, moment: datetime) -> None:
        """Look again at that moment or before."""
        self.wake_at = moment if self.wake_at is None else min(self.wake_at, moment)


def decide(pod: Object, view: View, now: datetime) -> Plan:
    """What the pod needs now."""
    plan = Plan()
    deadline = ending_deadline(pod, view, now)
    if deadline is not None:
        _end(pod, view, plan, deadline, now)
        return plan
    if expiry := _expiry(pod):
        plan.wake(expiry)
    if _run_inits(pod, view, plan, now):
        for spec in pod["spec"]["containers"]:
            _run(pod, spec, view, plan, now)
    return plan


def ending_deadline(pod: Object, view: View, now: datetime) -> datetime | None:
    """When the pod's last process must be gone, or None while the pod may live."""
    if stamp := pod["metadata"].get("deletionTimestamp"):
        if not pod["metadata"].get("deletionGracePeriodSeconds", DEFAULT_GRACE_SECONDS):
            return now
        # The grace is a time from now, whatever the wall clock said when it began.
        grace = pod["metadata"].get("deletionGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
        return min(parse_time(stamp), later(now, grace))
    if evicted := eviction.decided(pod):
        return later(evicted[0], eviction.GRACE_SECONDS)
    if is_over(pod, view) or is_expired(pod, now):
        return later(now, grace_seconds(pod))
    return None


def _end(pod: Object, view: View, plan: Plan, deadline: datetime, now: datetime) -> None:
    busy = False
    why = "Stopping container {}"
    for spec in all_containers(pod):
        container = view.get(spec["name"], NOTHING)
        if container.is_starting:
            busy = True
            plan.actions.append(Abandon(spec["name"]))
        if container.attempt and container.attempt.is_live:
            busy = True
            _stop(spec["name"], container, plan, deadline, now, why.format(spec["name"]))
    if not busy:
        plan.actions.append(Remove() if meta.is_deleting(pod) else Release())


def _stop(
    name: str, container: Container, plan: Plan, deadline: datetime, now: datetime, why: str
) -> None:
    if container.stop_at is None and deadline > now:
        plan.actions.append(Stop(name, deadline, why))
        plan.wake(deadline)
        return
    due = min(deadline, container.stop_at or deadline)
    if due > now:
        plan.wake(due)
    elif not container.is_killed:
        plan.actions.append(Kill(name))


def _run_inits(pod: Object, view: View, plan: Plan, now: datetime) -> bool:
    """Move the init containers on; True when the others may run."""
    begun = any(view.get(spec["name"], NOTHING).attempt for spec in pod["spec"]["containers"])
    for spec in pod["spec"].get("initContainers") or ():
        container = view.get(spec["name"], NOTHING)
        if is_sidecar(spec):
            _run(pod, spec, view, plan, now)
            running = container.attempt is not None and container.attempt.is_live
            if not begun and not (running and container.is_started):
                return False
        elif not begun and not is_complete(container):
            _run(pod, spec, view, plan, now)
            return False
    return True


def _run(pod: Object, spec: Object, view: View, plan: Plan, now: datetime) -> None:
    name = spec["name"]
    container = view.get(name, NOTHING)
    if container.is_starting:
        return
    attempt = container.attempt
    if attempt and attempt.is_live:
        if container.unhealthy:
            deadline = later(now, grace_seconds(pod, spec, container))
            _stop(name, container, plan, deadline, now, container.unhealthy)
        return
    if attempt and attempt.is_over and not restarts(pod, spec, attempt):
        return
    due = start_due(container, now)
    if due is not None and due > now:
        plan.wake(due)
        return
    plan.actions.append(_next_start(name, container))


def _next_start(name: str, container: Container) -> Start:
    attempt = container.attempt
    if attempt is None:
        return Start(name, 0, 0)
    if not attempt.is_over:  # a folder that was laid out and never started
        return Start(name, attempt.number, container.streak)
    streak = 0 if _ran_long(attempt) else container.streak + 1
    return Start(name, attempt.number + 1, streak)


def start_due(container: Container, now: datetime) -> datetime | None:
    """When a container that does not run may be started; None: at once."""
    due = container.trouble.retry_at if container.trouble else None
    attempt = container.attempt
    if attempt and attempt.is_over and attempt.seen.finished_at:
        wait = backoff_seconds(0 if _ran_long(attempt) else container.streak)
        left = remaining(attempt.seen.finished_at, wait, now)
        crash_due = later(now, left)
        due = crash_due if due is None else max(due, crash_due)
    return due


def backoff_seconds(streak: int) -> int:
    """How long to wait after an end: nothing the first time, then 10 s, doubled up to 300 s."""
    if streak <= 0:
        return 0
    return int(min(BACKOFF_FIRST_SECONDS * 2 ** min(streak - 1, 10), BACKOFF_MAX_SECONDS))


def _ran_long(attempt: Attempt) -> bool:
    if attempt.is_interrupted:  # an orderly end is no crash: nothing is held against it
        return True
    seen = attempt.seen
    if seen.started_at is None or seen.finished_at is None:
        return False
    return (seen.finished_at - seen.started_at).total_seconds() >= BACKOFF_RESET_SECONDS


def restarts(pod: Object, spec: Object, attempt: Attempt) -> bool:
    """Whether a container that ended so is to be started again."""
    if is_sidecar(spec) or (attempt.is_interrupted and attempt.exit_code):
        return True
    policy = pod["spec"].get("restartPolicy", "Always")
    if is_init(pod, spec) and policy == "Always":
        policy = "OnFailure"
    return policy == "Always" or (policy == "OnFailure" and attempt.exit_code != 0)


def is_over(pod: Object, view: View) -> bool:
    """Whether the pod's work is done: all its containers ended for good, or an init one failed."""
    if has_ended(pod):
        return True
    for spec in pod["spec"].get("initContainers") or ():
        attempt = view.get(spec["name"], NOTHING).attempt
        if attempt and attempt.is_over and attempt.exit_code and not restarts(pod, spec, attempt):
            return True
    return all(
        (attempt := view.get(spec["name"], NOTHING).attempt) is not None
        and attempt.is_over
        and not restarts(pod, spec, attempt)
        for spec in pod["spec"]["containers"]
    )


def eviction_message(pod: Object, view: View) -> str:
    """Why the pod was evicted; "" if it was not, or all its work was done by then."""
    evicted = eviction.decided(pod)
    if evicted is None:
        return ""
    attempts = [view.get(spec["name"], NOTHING).attempt for spec in pod["spec"]["containers"]]
    is_cut = any(
        attempt is None or attempt.seen.finished_at is None
        or attempt.seen.finished_at >= evicted[0]
        for attempt in attempts
    )  # fmt: skip
    return evicted[1] if is_cut else ""


def is_expired(pod: Object, now: datetime) -> bool:
    """Whether the pod has been active longer than its activeDeadlineSeconds."""
    expiry = _expiry(pod)
    return expiry is not None and expiry <= now


def is_cut_off(pod: Object, view: View, now: datetime) -> bool:
    """Whether the pod ends, or ended, because of its activeDeadlineSeconds."""
    expiry = _expiry(pod)
    if expiry is None or expiry > now:
        return False
    attempts = [view.get(spec["name"], NOTHING).attempt for spec in pod["spec"]["containers"]]
    return any(
        attempt is None or attempt.seen.finished_at is None or attempt.seen.finished_at >= expiry
        for attempt in attempts
    )


def _expiry(pod: Object) -> datetime | None:
    seconds = pod["spec"].get("activeDeadlineSeconds")
    start = meta.dig(pod, "status.startTime")
    if seconds is None or not start:
        return None
    return later(parse_time(start), seconds)


def grace_seconds(
    pod: Object, spec: Object | None = None, container: Container | None = None
) -> float:
    """How long a container may take to end after SIGTERM; a failed probe may bring its own."""
    seconds = pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    if spec is not None and container is not None and container.unhealthy:
        probe = spec.get("livenessProbe" if container.is_started else "startupProbe") or {}
        seconds = probe.get("terminationGracePeriodSeconds", seconds)
    return float(seconds)


def all_containers(pod: Object) -> Iterator[Object]:
    """The specs of init containers, then of the others."""
    yield from pod["spec"].get("initContainers") or ()
    yield from pod["spec"]["containers"]


def is_init(pod: Object, spec: Object) -> bool:
    """Whether the container is one of the pod's init containers."""
    return any(each["name"] == spec["name"] for each in pod["spec"].get("initContainers") or ())


def is_sidecar(spec: Object) -> bool:
    """Whether an init container stays beside the others instead of ending before them."""
    return bool(spec.get("restartPolicy") == "Always")


def told_of(pod: Object, name: str) -> Object:
    """What the pod's status tells of a container; empty when nothing."""
    status = pod.get("status") or {}
    told = (status.get("containerStatuses") or [], status.get("initContainerStatuses") or [])
    return next((each for part in told for each in part if each["name"] == name), {})


def find_pids(view: View) -> list[int]:
    """The pids of the pod's containers that run."""
    attempts = (container.attempt for container in view.values())
    return [one.seen.pid for one in attempts if one and one.is_live and one.seen.pid]


def is_complete(container: Container) -> bool:
    """Whether the container ended with success."""
    attempt = container.attempt
    return attempt is not None and attempt.is_over and attempt.exit_code == 0
