"""Services by their own address: real pods ask real pods, by name and by clusterIP."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import harness
from bessemer.kinds import meta

CORE = "/api/v1/namespaces/default"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
# Answers its pod's name on its pod's own address.
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["HOSTNAME"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8000), Handler).serve_forever()
"""
# Asks each address twenty times and says who answered, where a pod's reason is read.
CLIENT = """
import json, sys, urllib.request
seen = {}
for url in sys.argv[1:]:
    answers = [urllib.request.urlopen(url, timeout=5).read().decode() for _ in range(20)]
    seen[url] = sorted(set(answers))
open("/dev/termination-log", "w").write(json.dumps(seen))
"""
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
POD_NAME = {"name": "HOSTNAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Running]:
    with harness.bessemer(tmp_path_factory.mktemp("services")) as running:
        yield running


def make_deployment(name: str, replicas: int) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "python:3.11",
        "command": ["python3", "-c", SERVER],
        "env": [POD_IP, POD_NAME],
        "ports": [{"name": "web", "containerPort": 8000}],
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
    }
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }


def make_service(running: harness.Running, name: str, **spec: Any) -> dict[str, Any]:
    made: dict[str, Any] = running.create(
        f"{CORE}/services", {"metadata": {"name": name}, "spec": spec}
    )
    return made


def until_ready(running: harness.Running, name: str, replicas: int) -> None:
    def holds(found: list[Any]) -> bool:
        return any(
            meta.name(each) == name and meta.dig(each, "status.readyReplicas", 0) == replicas
            for each in found
        )

    running.until(DEPLOYMENTS, holds)


def ask_from_a_pod(running: harness.Running, name: str, *urls: str) -> dict[str, list[str]]:
    container = {
        "name": "main",
        "image": "python:3.11",
        "command": ["python3", "-c", CLIENT, *urls],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    spec = {"containers": [container], "restartPolicy": "Never"}
    running.create(f"{CORE}/pods", {"metadata": {"name": name}, "spec": spec})

    def ended(found: list[Any]) -> Any:
        return next(
            (
                pod
                for pod in found
                if meta.name(pod) == name and meta.dig(pod, "status.phase") in ENDED
            ),
            None,
        )

    pod: Any = ended(running.until(f"{CORE}/pods", ended))
    state = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert pod["status"]["phase"] == "Succeeded", state
    seen: dict[str, list[str]] = json.loads(state["message"])
    return seen


ENDED = ("Succeeded", "Failed")


def is_open(address: str, port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(5)
        try:
            sock.connect((address, port))
        except ConnectionRefusedError:
            return False
        return True


def wait_for(address: str, port: int, *, opened: bool) -> None:
    """Ask until it is so; each answer is of the kernel's, there is no event to wait for."""
    for _ in range(2000):
        if is_open(address, port) == opened:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{address}:{port} never was {'open' if opened else 'closed'}")


def test_both_replicas_answer_by_name_and_address_and_none_refuses(
    running: harness.Running,
) -> None:
    running.create(DEPLOYMENTS, make_deployment("web", 2))
    ports = [{"port": 8080, "targetPort": "web"}]
    service = make_service(running, "web", selector={"app": "web"}, ports=ports)
    address = service["spec"]["clusterIP"]
    assert address.startswith("127.")
    until_ready(running, "web", 2)
    wait_for(address, 8080, opened=True)

    def both_listed(found: list[Any]) -> bool:
        return any(meta.name(each).startswith("web-") and len(each["endpoints"]) == 2
                   for each in found)  # fmt: skip

    running.until(SLICES, both_listed)
    urls = ("http://web:8080/", "http://web.default.svc.cluster.local:8080/",
            f"http://{address}:8080/")  # fmt: skip
    seen = ask_from_a_pod(running, "asker", *urls)
    pods = [meta.name(pod) for pod in running.get(f"{CORE}/pods?labelSelector=app%3Dweb")["items"]]
    assert len(pods) == 2
    assert seen == {url: sorted(pods) for url in urls}

    scale = {"spec": {"replicas": 0}}
    running.request("PATCH", f"{DEPLOYMENTS}/web", scale,
                    content_type="application/merge-patch+json")  # fmt: skip
    wait_for(address, 8080, opened=False)
    # And back: the same address answers again.
    scale = {"spec": {"replicas": 1}}
    running.request("PATCH", f"{DEPLOYMENTS}/web", scale,
                    content_type="application/merge-patch+json")  # fmt: skip
    wait_for(address, 8080, opened=True)
    running.delete(f"{CORE}/services/web")
    wait_for(address, 8080, opened=False)
    running.delete(f"{DEPLOYMENTS}/web")


def test_a_service_without_selector_answers_by_slices_made_by_hand(
    running: harness.Running,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ports = [{"name": "tcp", "port": 9000}]
        service = make_service(running, "outside", ports=ports)
        address = service["spec"]["clusterIP"]
        assert not is_open(address, 9000)
        running.create(
            SLICES,
            {
                "metadata": {"name": "outside-1",
                             "labels": {"kubernetes.io/service-name": "outside"}},
                "addressType": "IPv4",
                "ports": [{"name": "tcp", "port": server.getsockname()[1], "protocol": "TCP"}],
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            },
        )  # fmt: skip
        wait_for(address, 9000, opened=True)
        with socket.create_connection((address, 9000), 5) as client:
            client.sendall(b"hello")
            server.settimeout(10)
            # The first may be a look of wait_for's, which sent nothing.
            while True:
                other, _ = server.accept()
                with other:
                    other.settimeout(5)
                    if received := other.recv(5):
                        break
        assert received == b"hello"


def test_a_headless_service_has_no_address(running: harness.Running) -> None:
    service = make_service(
        running, "headless", clusterIP="None", selector={"app": "none"}, ports=[{"port": 8080}]
    )
    assert service["spec"]["clusterIP"] == "None"


def test_a_port_that_cannot_be_bound_is_told_on_the_service(running: harness.Running) -> None:
    running.create(DEPLOYMENTS, make_deployment("low", 1))
    ports = [{"name": "low", "port": 80, "targetPort": 8000},
             {"name": "high", "port": 8080, "targetPort": 8000}]  # fmt: skip
    service = make_service(running, "low", selector={"app": "low"}, ports=ports)
    address = service["spec"]["clusterIP"]

    def told(found: list[Any]) -> Any:
        return next(
            (
                meta.condition(each, "bessemer.dev/AddressProgrammed")
                for each in found
                if meta.name(each) == "low"
                and meta.condition(each, "bessemer.dev/AddressProgrammed")
            ),
            None,
        )

    condition = told(running.until(f"{CORE}/services", told))
    assert (condition["status"], condition["reason"]) == ("False", "PortNotBound")
    assert f"{address}:80" in condition["message"]
    assert "1024" in condition["message"]
    assert f"{address}:8080" not in condition["message"]
    wait_for(address, 8080, opened=True)
