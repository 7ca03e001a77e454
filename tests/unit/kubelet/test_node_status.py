"""The status that a pod deserves, as kubelet words it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bessemer.base.clock import format_time
from bessemer.cluster.kubelet.pods import status
from bessemer.cluster.kubelet.pods.plan import Attempt, Container, WaitingReason
from bessemer.cluster.kubelet.runtime.base import ContainerState, Observation
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PLACE = status.NodeAddresses("127.0.0.1", "127.7.128.1")


def pod(*, init: tuple[str, ...] = (), **spec: Any) -> Object:
    spec.setdefault("containers", [{"name": "main", "image": "busybox"}])
    spec["initContainers"] = [{"name": name, "image": "busybox"} for name in init]
    obj = meta.new(POD, "p", "ns", spec=spec)
    obj["metadata"]["uid"] = "u"
    return obj


def running(**parts: Any) -> Container:
    parts = {"is_started": True, "is_ready": True, **parts}
    return Container(Attempt(0, Observation(ContainerState.RUNNING, started_at=NOW)), **parts)


def ended(number: int = 0, streak: int = 0, **seen: Any) -> Container:
    seen = {"started_at": NOW, "finished_at": NOW, **seen}
    return Container(Attempt(number, Observation(ContainerState.EXITED, **seen)), streak=streak)


def build(obj: Object, **view: Container) -> Object:
    return status.build(obj, view, PLACE, NOW)


def conditions(found: Object) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each.get("reason", "")) for each in found["conditions"]}


def state(found: Object) -> Object:
    first: Object = found["containerStatuses"][0]["state"]
    return first


def test_nothing_started() -> None:
    found = build(pod())
    assert found["phase"] == "Pending"
    assert state(found) == {"waiting": {"reason": "ContainerCreating"}}
    assert conditions(found)["Ready"] == ("False", "ContainersNotReady")
    assert conditions(found)["PodScheduled"] == ("True", "")
    assert (found["podIP"], found["hostIP"]) == ("127.7.128.1", "127.0.0.1")


def test_running_and_ready() -> None:
    found = build(pod(), main=running())
    assert found["phase"] == "Running"
    assert conditions(found)["Ready"] == conditions(found)["ContainersReady"] == ("True", "")
    assert state(found) == {"running": {"startedAt": "2026-11-23T12:00:00Z"}}


def test_running_but_not_ready() -> None:
    found = build(pod(), main=running(is_ready=False))
    assert conditions(found)["Ready"] == ("False", "ContainersNotReady")
    assert not found["containerStatuses"][0]["ready"]


def test_waiting_for_init_containers() -> None:
    found = build(pod(init=("i",)), i=running())
    assert found["phase"] == "Pending"
    assert state(found) == {"waiting": {"reason": "PodInitializing"}}
    assert conditions(found)["Initialized"] == ("False", "ContainersNotInitialized")


def test_an_init_container_that_failed_for_good_leaves_the_pod_uninitialized() -> None:
    found = build(pod(init=("i",), restartPolicy="Never"), i=ended(exit_code=4))
    assert found["phase"] == "Failed"
    assert conditions(found)["Initialized"] == ("False", "ContainersNotInitialized")
    assert conditions(found)["Ready"] == ("False", "PodFailed")


@pytest.mark.parametrize(
    ("seen", "phase", "reason", "code"),
    [
        ({"exit_code": 0}, "Succeeded", "Completed", 0),
        ({"exit_code": 2}, "Failed", "Error", 2),
        ({"exit_code": 137, "signal": 9, "oom_killed": True}, "Failed", "OOMKilled", 137),
        ({"exit_code": 127, "start_error": "not found"}, "Failed", "ContainerCannotRun", 127),
    ],
)
def test_ends(seen: Object, phase: str, reason: str, code: int) -> None:
    found = build(pod(restartPolicy="Never"), main=ended(**seen))
    assert found["phase"] == phase
    terminated = state(found)["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == (reason, code)
    ready = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}[phase]
    assert conditions(found)["Ready"] == ("False", ready)


def test_lost() -> None:
    lost = Container(Attempt(0, Observation(ContainerState.LOST, started_at=NOW)))
    found = build(pod(restartPolicy="Never"), main=lost)
    terminated = state(found)["terminated"]
    assert (found["phase"], terminated["exitCode"]) == ("Failed", 137)
    assert terminated["reason"] == "ContainerStatusUnknown"


def test_crash_loop() -> None:
    found = build(pod(), main=ended(number=3, streak=3, exit_code=1))
    assert found["phase"] == "Running"
    assert state(found)["waiting"] == {
        "reason": "CrashLoopBackOff",
        "message": "back-off 40s restarting failed container=main pod=p_ns(u)",
    }
    container = found["containerStatuses"][0]
    assert container["restartCount"] == 3
    assert container["lastState"]["terminated"]["exitCode"] == 1


def test_trouble_is_the_waiting_reason() -> None:
    trouble = WaitingReason("ImagePullBackOff", "why", NOW)
    found = build(pod(), main=Container(trouble=trouble))
    assert state(found) == {"waiting": {"reason": "ImagePullBackOff", "message": "why"}}
    assert found["phase"] == "Pending"


def test_past_the_active_deadline() -> None:
    obj = pod(activeDeadlineSeconds=1, restartPolicy="Never")
    obj["status"] = {"startTime": format_time(NOW - timedelta(seconds=5))}
    assert build(obj, main=running())["phase"] == "Running"
    found = build(obj, main=ended(exit_code=143))
    assert (found["phase"], found["reason"]) == ("Failed", "DeadlineExceeded")
    in_time = ended(exit_code=0, finished_at=NOW - timedelta(seconds=4.5))
    assert build(obj, main=in_time)["phase"] == "Succeeded"


def test_a_final_phase_never_changes() -> None:
    obj = pod()
    obj["status"] = {"phase": "Failed", "reason": "Evicted", "message": "m"}
    found = build(obj, main=ended(exit_code=0))
    assert (found["phase"], found["reason"], found["message"]) == ("Failed", "Evicted", "m")


def test_unchanged_is_equal_and_keeps_its_times() -> None:
    obj = pod()
    obj["status"] = build(obj, main=running())
    later = NOW + timedelta(hours=1)
    assert status.build(obj, {"main": running()}, PLACE, later) == obj["status"]


def test_a_changed_condition_gets_its_time() -> None:
    obj = pod()
    obj["status"] = build(obj, main=running())
    later = NOW + timedelta(hours=1)
    found = status.build(obj, {"main": running(is_ready=False)}, PLACE, later)
    ready = next(each for each in found["conditions"] if each["type"] == "Ready")
    scheduled = next(each for each in found["conditions"] if each["type"] == "PodScheduled")
    assert ready["lastTransitionTime"] == format_time(later)
    assert scheduled["lastTransitionTime"] == format_time(NOW)


def test_others_conditions_stay_and_gates_count() -> None:
    obj = pod(readinessGates=[{"conditionType": "example.com/open"}])
    obj["status"] = {"conditions": [{"type": "example.com/open", "status": "False"}]}
    found = build(obj, main=running())
    assert conditions(found)["Ready"] == ("False", "ReadinessGatesNotReady")
    assert conditions(found)["ContainersReady"] == ("True", "")
    assert conditions(found)["example.com/open"] == ("False", "")


def test_limits_that_are_not_held_are_told() -> None:
    obj = pod()
    place = status.NodeAddresses("127.0.0.1", "127.7.128.1", "cpu: no cgroup can be written here")
    for _ in range(2):
        obj["status"] = status.build(obj, {"main": running()}, place, NOW)
    told = [each for each in obj["status"]["conditions"] if each["type"] == status.LIMITS_HELD]
    assert len(told) == 1
    assert (told[0]["status"], told[0]["reason"]) == ("False", "LimitNotHeld")
