"""Which pods a Service's EndpointSlices list."""

from __future__ import annotations

from bessemer.cluster.controllers.endpoints import plan
from bessemer.kinds import meta
from bessemer.kinds.endpointslice import SERVICE_NAME
from bessemer.kinds.kind import Object


def service(**spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": "n", "uid": "s", "labels": {"team": "x"}},
        "spec": {"selector": {"app": "a"}, "ports": [{"port": 80, "targetPort": 8080}], **spec},
    }


def pod(
    name: str, *, ready: bool = True, port: int = 8080, address: str = "127.9.128.2"
) -> Object:
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "a"}},
        "spec": {
            "nodeName": "one",
            "containers": [{"ports": [{"name": "http", "containerPort": port}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def listed(slices: list[Object]) -> list[str]:
    return [entry["targetRef"]["name"] for part in slices for entry in part["endpoints"]]


def test_ready_pods_are_listed_by_name() -> None:
    (made,) = plan.slices(service(), [pod("b"), pod("a")])

    assert listed([made]) == ["a", "b"]
    assert made["ports"] == [{"name": "", "protocol": "TCP", "port": 8080}]
    assert meta.labels(made) == {
        "team": "x",
        SERVICE_NAME: "s",
        plan.MANAGED_BY: plan.MANAGER,
    }
    assert made["endpoints"][0]["conditions"] == {
        "ready": True,
        "serving": True,
        "terminating": False,
    }


def test_unready_ending_ended_and_addressless_pods_are_not() -> None:
    ending, ended = pod("ending"), pod("ended")
    ending["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    ended["status"]["phase"] = "Succeeded"

    slices = plan.slices(service(), [pod("a", ready=False), ending, ended, pod("b", address="")])

    assert listed(slices) == []
    assert len(slices) == 1


def test_a_service_may_want_pods_that_are_not_ready() -> None:
    ending = pod("b")
    ending["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"

    slices = plan.slices(service(publishNotReadyAddresses=True), [pod("a", ready=False), ending])

    assert listed(slices) == ["a", "b"]
    assert [entry["conditions"]["ready"] for entry in slices[0]["endpoints"]] == [True, True]


def test_a_service_by_another_s_name_has_no_pods() -> None:
    assert not plan.is_selected(service(type="ExternalName"), pod("a"))


def test_a_host_name_is_told_where_the_service_is_the_pod_s_subdomain() -> None:
    inside, outside = pod("inside"), pod("outside")
    inside["spec"] |= {"hostname": "one", "subdomain": "s"}
    outside["spec"] |= {"hostname": "two", "subdomain": "other"}

    (made,) = plan.slices(service(), [inside, outside])

    assert [entry.get("hostname") for entry in made["endpoints"]] == ["one", None]


def test_a_named_port_is_each_pods_own() -> None:
    named = service(ports=[{"name": "web", "port": 80, "targetPort": "http"}])

    slices = plan.slices(named, [pod("a", port=1000), pod("b", port=2000), pod("c", port=1000)])

    assert {part["ports"][0]["port"]: listed([part]) for part in slices} == {
        1000: ["a", "c"],
        2000: ["b"],
    }
    assert len({meta.name(part) for part in slices}) == 2


def test_a_named_port_is_found_by_its_protocol_and_in_sidecars_too() -> None:
    named = service(ports=[{"port": 80, "targetPort": "http", "protocol": "TCP"}])
    made = pod("a")
    made["spec"]["containers"][0]["ports"][0]["protocol"] = "UDP"
    side = {"ports": [{"name": "http", "containerPort": 9090}]}

    for policy, ports in (({}, []), ({"restartPolicy": "Always"}, [9090])):
        made["spec"]["initContainers"] = [{**side, **policy}]
        (part,) = plan.slices(named, [made])
        assert [port["port"] for port in part["ports"]] == ports


def test_an_empty_selector_selects_nothing() -> None:
    assert not plan.is_selected(service(selector={}), pod("a"))
    assert not plan.is_selected(service(selector={"app": "b"}), pod("a"))
    assert plan.is_selected(service(), pod("a"))
