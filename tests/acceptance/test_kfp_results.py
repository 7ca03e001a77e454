"""What a run gives is right, or it is refused or fails by name: through the official SDK."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import client_environments
import harness

CLIENT = Path(__file__).parent / "clients" / "kfp_results.py"
CLAIMS = "/api/v1/namespaces/kubeflow/persistentvolumeclaims"
PODS = "/api/v1/namespaces/kubeflow/pods"
ABORTED = 10  # gRPC's code

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("kfp-results")]


class Client:
    """The official client in a process of its own, which imports it once."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, deed: str, **arguments: Any) -> Any:
        self.begin(deed, **arguments)
        return self.finish()

    def begin(self, deed: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([deed, arguments]) + "\n")
        self._process.stdin.flush()

    def finish(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the client ended"
        return json.loads(line)

    def refused(self, name: str, **arguments: Any) -> str:
        """The reason for which a run is refused when it is submitted."""
        answer = self.do("run", name=name, **arguments)
        assert answer.get("refused") == 400, answer
        return str(answer["message"])


@pytest.fixture(scope="module")
def client(bessemer: harness.Running) -> Iterator[Client]:
    python = client_environments.make_python("kfp==2.17.0", "kfp-kubernetes==2.17.0")
    env = {**bessemer.env(), "PYTHONPATH": "", "HOME": str(bessemer.home.parent)}
    with subprocess.Popen(
        [python, CLIENT], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Client(process)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("if_else", ["other-l1", "two-l2"]),
        ("nested_loops", ["l1-a", "l1-b", "l2-a", "l2-b"]),
        ("plain_loops", ["x-p", "x-q", "y-p", "y-q"]),
        ("exit_if_else", ["exit", "other-l1", "two-l2"]),
        ("made_items", ["other-l1", "two-l2"]),
    ],
)
def test_a_loops_item_is_the_item_wherever_it_is_asked_for(
    client: Client, name: str, said: list[str]
) -> None:
    told = client.do("run", name=name)

    assert told["state"] == "SUCCEEDED", told["error"]
    assert told["said"] == said


@pytest.mark.parametrize(
    ("name", "why", "said"),
    [
        ("no_field", 'can\'t take \'n\' out of {"m": "l2"}: it has no such key', ["other-l1"]),
        ("no_value", "pipelinechannel--word']}} has no value", []),
    ],
)
def test_what_has_no_value_fails_the_run_by_name(
    client: Client, name: str, why: str, said: list[str]
) -> None:
    told = client.do("run", name=name)

    assert told["state"] == "FAILED"
    assert why in told["error"]
    assert told["said"] == said


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("retry_chain", {"a": 1, "b": 2, "c": 1}),
        ("retry_loop", {"loop-0": 1, "loop-1": 2}),
        # The exit task is told of the new end, too.
        ("retry_exit", {"a": 1, "b": 2, "c": 1, "exit": 2}),
        ("retry_nested", {"a": 1, "b": 2, "c": 1}),
    ],
)
def test_a_retry_repeats_what_failed_and_what_was_skipped(
    client: Client, name: str, counts: dict[str, int]
) -> None:
    told = client.do("retry", name=name)

    assert (told["first"]["state"], told["second"]["state"]) == ("FAILED", "SUCCEEDED")
    assert told["counts"] == counts
    assert told["second"]["states"] == ["PENDING", "RUNNING", "FAILED", "RUNNING", "SUCCEEDED"]
    ran = [[line for line in log.splitlines() if line.startswith("SAID")] for log in told["logs"]]
    assert [lines[0].split()[-1] for lines in ran] == ["1", "2"]
    assert (told["again"]["status"], told["again"]["code"]) == (409, ABORTED)
    assert "SUCCEEDED" in told["again"]["message"]


URIS = ["s3://bucket/key.csv", "gs://bucket/x", "oci://registry/x:1", "https://example.org/data",
        "/etc/passwd", "file:///etc/passwd", "data.csv"]  # fmt: skip


@pytest.mark.parametrize("uri", URIS)
def test_an_importer_of_what_cant_be_fetched_is_refused_at_submit(
    client: Client, uri: str
) -> None:
    message = client.refused("imports", uri=uri)

    assert "importer 'importer' can't fetch" in message
    assert uri in message


def test_an_importer_whose_uri_a_step_made_fails_by_name(client: Client) -> None:
    told = client.do("run", name="imports_made", uri="s3://bucket/late.csv")

    assert told["state"] == "FAILED"
    assert told["tasks"]["importer"]["state"] == "FAILED"
    assert "can't fetch 's3://bucket/late.csv'" in told["error"]


def test_what_lies_in_the_claim_is_imported(client: Client) -> None:
    client.do("run", name="said")  # makes the claim
    told_path = re.search(r"give a path in (\S+),", client.refused("imports", uri="s3://b/x"))
    assert told_path is not None
    bucket = Path(told_path[1]) / "mlpipeline"
    bucket.mkdir(exist_ok=True)
    (bucket / "data.csv").write_text("a,b")

    for uri in ("minio://mlpipeline/data.csv", str(bucket / "data.csv")):
        told = client.do("run", name="imports", uri=uri)
        assert told["state"] == "SUCCEEDED", told["error"]
        assert told["said"] == ["a,b"]
    told = client.do("run", name="imports", uri="minio://mlpipeline/none.csv")
    assert told["state"] == "FAILED"
    assert "importer 'importer' finds nothing at" in told["error"]


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("as_user", {}, "runAsUser"),
        ("ephemeral", {}, "volumes of type ephemeral are not supported"),
        ("image", {}, "registry.example.com/team/tool:1"),
        ("claim_modes", {}, "ReadWriteSometimes"),
        ("claim_names", {}, "at most one of pvc_name and pvc_name_suffix"),
        ("claim_snapshot", {}, "a volume is empty at first"),
        ("claim_size", {"size": "large"}, "quantities must match"),
        ("said", {"root": "s3://bucket/root"}, "the pipeline root must be"),
        ("said", {"root": "/var/lib"}, "the pipeline root must be"),
    ],
)
def test_what_cant_run_is_refused_at_submit(
    bessemer: harness.Running, client: Client, name: str, more: dict[str, str], why: str
) -> None:
    before = bessemer.get("/apis/v2beta1/runs").get("total_size")

    assert why in client.refused(name, **more)
    assert bessemer.get("/apis/v2beta1/runs").get("total_size") == before


@pytest.mark.usefixtures("sandboxed")
def test_a_claim_is_made_used_and_deleted(bessemer: harness.Running, client: Client) -> None:
    for _ in range(2):
        told = client.do("run", name="claim_life")

        assert told["state"] == "SUCCEEDED", told["error"]
        assert told["said"] == ["42"]
        bessemer.until(
            CLAIMS,
            lambda found: [one for one in found if "-work" in one["metadata"]["name"]] == [],
        )


def test_a_claim_that_is_there_or_is_not_there_fails_by_name(
    bessemer: harness.Running, client: Client
) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    bessemer.create(CLAIMS, {"metadata": {"name": "taken"}, "spec": spec})
    told = client.do("run", name="claim_named", claim="taken", other="nobodys")

    assert told["state"] == "FAILED"
    assert '"taken" already exists' in told["tasks"]["createpvc"]["error"]
    assert '"nobodys" not found' in told["tasks"]["deletepvc"]["error"]


def test_a_run_is_in_the_namespace_that_the_client_names(
    bessemer: harness.Running, client: Client
) -> None:
    bessemer.create("/api/v1/namespaces", {"metadata": {"name": "team-a"}})

    for told in (
        client.do("run", name="said", namespace="team-a"),
        client.do("run_in", namespace="team-a"),
    ):
        assert told["state"] == "SUCCEEDED", told["error"]
        assert bessemer.get(f"/apis/v2beta1/runs/{told['run_id']}")["run_id"]
        pod = f"/api/v1/namespaces/team-a/pods/{told['tasks']['say']['pod']}"
        assert bessemer.get(pod)["metadata"]["namespace"] == "team-a"
    listed = bessemer.get("/apis/v2beta1/runs?namespace=team-a")
    assert listed["total_size"] == 2
    everywhere = bessemer.get("/apis/v2beta1/runs")
    assert told["run_id"] not in [run["run_id"] for run in everywhere.get("runs", ())]


def test_a_namespace_that_came_again_has_what_runs_need(
    bessemer: harness.Running, client: Client
) -> None:
    spaces = "/api/v1/namespaces"
    for _ in range(2):
        bessemer.create(spaces, {"metadata": {"name": "team-again"}})
        told = client.do("run", name="said", namespace="team-again")
        assert told["state"] == "SUCCEEDED", told["error"]
        bessemer.delete(f"{spaces}/team-again")
        bessemer.until(
            spaces, lambda found: "team-again" not in [one["metadata"]["name"] for one in found]
        )


def test_a_namespace_that_is_not_there_is_refused(client: Client) -> None:
    for told in (
        client.do("run", name="said", namespace="team-none"),
        client.do("run_in", namespace="team-none"),
    ):
        assert told["refused"] == 404
        assert "namespace 'team-none' not found" in told["message"]


def test_a_metric_that_is_no_number_fails_the_step_and_is_named(client: Client) -> None:
    told = client.do("run", name="spoiled")

    assert told["state"] == "FAILED"
    assert (
        "metadata 'loss' of output artifact 'scores' must be JSON, but it holds nan"
        in (told["error"])
    )


def test_what_runs_instead_of_an_image_is_told(bessemer: harness.Running, client: Client) -> None:
    told = client.do("run", name="stand_ins")
    instead = "image alpine:3.20 is not pulled: this machine's own programs run instead"
    tasks = told["tasks"]

    assert told["said"] == ["here", "mirrored"]
    assert tasks["distribution"]["state"] == "SUCCEEDED"
    assert tasks["distribution"]["history"] == [instead]
    assert tasks["mirrored"]["history"] == []
    # Where it fails, this is most likely why.
    assert instead in told["error"]
    events = bessemer.get("/api/v1/namespaces/kubeflow/events")["items"]
    warned = [one for one in events if one["reason"] == "ImageStandIn"]
    assert {(one["type"], one["message"]) for one in warned} == {("Warning", instead)}


def test_a_run_says_that_its_step_cant_be_scheduled(
    bessemer: harness.Running, client: Client
) -> None:
    told = client.do("wait_reason", name="too_large")
    why = "cannot be scheduled: 0/1 nodes are available: 1 Insufficient cpu"

    assert told["task"].startswith(why)
    assert told["run"].startswith(f"task 'say' waits: {why}")
    status = harness.run("status", "--home", str(bessemer.home), "--output", "json").out
    (node,) = [part for part in json.loads(status)["parts"] if part["name"] == "node"]
    assert why in node["detail"]
    bessemer.create(f"/apis/v2beta1/runs/{told['run_id']}:terminate", {})
    bessemer.until(PODS, lambda pods: not any(map(is_unschedulable, pods)))


def is_unschedulable(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(one["type"] == "PodScheduled" and one["status"] == "False" for one in conditions)


def waits_for(pod: dict[str, Any]) -> str:
    """The message with which a pod's container waits."""
    for one in pod.get("status", {}).get("containerStatuses", ()):
        if one["state"].get("waiting", {}).get("message"):
            return str(one["state"]["waiting"]["message"])
    return ""


def test_a_step_says_what_it_installs(bessemer: harness.Running, client: Client) -> None:
    client.begin("run", name="installs")
    pods = bessemer.until(PODS, lambda pods: any(map(waits_for, pods)))
    told = client.finish()

    assert told["said"] == ["iniconfig"]
    (message,) = filter(None, map(waits_for, pods))
    assert message.startswith("installing environment Python 3.11 with ")
    assert "iniconfig==2.1.0" in message
