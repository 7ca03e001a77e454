"""Plays scenarios by ``kfp.Client``, as told line by line: ``[deed, arguments]`` in JSON.

Answers each by one line of JSON: what came of it, or ``{"refused": status, "message"}``.
"""

import collections
import http.server
import json
import os
import sys
import threading
import urllib.error
import urllib.request
import warnings
from typing import Optional

warnings.simplefilter("ignore")
os.environ["KFP_DISABLE_EXECUTION_CACHING_BY_DEFAULT"] = "true"

import kfp
import kfp_server_api
from kfp import dsl, kubernetes
from kfp.dsl import Dataset, Input, Output

COUNTS = collections.Counter()  # how often a step of that name ran


class Counter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        COUNTS[self.path] += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(COUNTS[self.path]).encode())

    def log_message(self, *arguments):
        pass


COUNTER = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counter)
threading.Thread(target=COUNTER.serve_forever, daemon=True).start()
BASE = f"http://127.0.0.1:{COUNTER.server_port}"


@dsl.component(base_image="python:3.11")
def say(name: str):
    print("SAID", name)


@dsl.component(base_image="python:3.11")
def gen() -> list:
    return [{"n": "l1"}, {"n": "l2"}]


@dsl.component(base_image="python:3.11")
def step(base: str, name: str, fails: int) -> str:
    import sys
    import urllib.request

    ran = int(urllib.request.urlopen(f"{base}/{name}").read())
    print("SAID", name, ran)
    if ran <= fails:
        sys.exit(1)
    return name


@dsl.component(base_image="python:3.11")
def read(data: Input[Dataset]):
    from pathlib import Path

    print("SAID", Path(data.path).read_text())


@dsl.component(base_image="python:3.11")
def make_uri(uri: str) -> str:
    return uri


@dsl.component(base_image="python:3.11")
def put():
    from pathlib import Path

    Path("/data/x.txt").write_text("42")


@dsl.component(base_image="python:3.11")
def get():
    from pathlib import Path

    print("SAID", Path("/data/x.txt").read_text())


@dsl.component(base_image="python:3.11")
def spoil(scores: Output[dsl.Metrics]):
    scores.log_metric("loss", float("nan"))


@dsl.container_component
def other_image():
    return dsl.ContainerSpec(image="registry.example.com/team/tool:1", command=["true"])


ITEMS = [{"n": "l1"}, {"n": "l2"}]


@dsl.pipeline(name="if-else")
def if_else():
    with dsl.ParallelFor(ITEMS) as it:
        with dsl.If(it.n == "l2"):
            say(name=f"two-{it.n}")
        with dsl.Else():
            say(name=f"other-{it.n}")


@dsl.pipeline(name="nested-loops")
def nested_loops():
    with dsl.ParallelFor(ITEMS) as it, dsl.ParallelFor([{"m": "a"}, {"m": "b"}]) as at:
        say(name=f"{it.n}-{at.m}")


@dsl.pipeline(name="plain-loops")
def plain_loops():
    with dsl.ParallelFor(["x", "y"]) as it, dsl.ParallelFor(["p", "q"]) as at:
        say(name=f"{it}-{at}")


@dsl.pipeline(name="exit-if-else")
def exit_if_else():
    with dsl.ExitHandler(say(name="exit")), dsl.ParallelFor(ITEMS) as it:
        with dsl.If(it.n == "l2"):
            say(name=f"two-{it.n}")
        with dsl.Else():
            say(name=f"other-{it.n}")


@dsl.pipeline(name="made-items")
def made_items():
    with dsl.ParallelFor(gen().output) as it:
        with dsl.If(it.n == "l2"):
            say(name=f"two-{it.n}")
        with dsl.Else():
            say(name=f"other-{it.n}")


@dsl.pipeline(name="no-field")
def no_field():
    with dsl.ParallelFor([{"n": "l1"}, {"m": "l2"}]) as it, dsl.If(it.n != "l2"):
        say(name=f"other-{it.n}")


@dsl.pipeline(name="no-value")
def no_value(word: Optional[str] = None):  # noqa: UP045 - kfp reads no unions
    say(name=f"two-{word}")


def chain(base: str):
    a = step(base=base, name="a", fails=0)
    b = step(base=base, name="b", fails=1).after(a)
    step(base=base, name="c", fails=0).after(b)


@dsl.pipeline(name="retry-chain")
def retry_chain(base: str):
    chain(base)


@dsl.pipeline(name="retry-loop")
def retry_loop(base: str):
    with dsl.ParallelFor([0, 1]) as item:
        step(base=base, name=f"loop-{item}", fails=item)


@dsl.pipeline(name="retry-exit")
def retry_exit(base: str):
    with dsl.ExitHandler(step(base=base, name="exit", fails=0)):
        chain(base)


@dsl.pipeline(name="inner")
def inner(base: str):
    chain(base)


@dsl.pipeline(name="retry-nested")
def retry_nested(base: str):
    inner(base=base)


@dsl.pipeline(name="imports")
def imports(uri: str):
    read(data=dsl.importer(artifact_uri=uri, artifact_class=Dataset).output)


@dsl.pipeline(name="imports-what-a-step-made")
def imports_made(uri: str):
    made = make_uri(uri=uri)
    read(data=dsl.importer(artifact_uri=made.output, artifact_class=Dataset).output)


@dsl.pipeline(name="claim-life")
def claim_life():
    made = kubernetes.CreatePVC(
        pvc_name_suffix="-work", access_modes=["ReadWriteOnce"], size="20Mi",
        storage_class_name="standard",
    )  # fmt: skip
    first, second = put(), get()
    for one in (first, second.after(first)):
        kubernetes.mount_pvc(one, pvc_name=made.outputs["name"], mount_path="/data")
    kubernetes.DeletePVC(pvc_name=made.outputs["name"]).after(second)


@dsl.pipeline(name="claim-of-a-name")
def claim_named(claim: str, other: str):
    kubernetes.CreatePVC(pvc_name=claim, access_modes=["ReadWriteOnce"], size="20Mi")
    kubernetes.DeletePVC(pvc_name=other)


def claim(**more):
    kubernetes.CreatePVC(**{"access_modes": ["ReadWriteOnce"], "size": "20Mi", **more})


@dsl.pipeline(name="claim-of-odd-modes")
def claim_modes():
    claim(access_modes=["ReadWriteSometimes"])


@dsl.pipeline(name="claim-of-two-names")
def claim_names():
    claim(pvc_name="a", pvc_name_suffix="-b")


@dsl.pipeline(name="claim-of-a-snapshot")
def claim_snapshot():
    claim(data_source={"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot",
                       "name": "mine"})  # fmt: skip


@dsl.pipeline(name="claim-of-a-size")
def claim_size(size: str):
    kubernetes.CreatePVC(access_modes=["ReadWriteOnce"], size=size)


@dsl.pipeline(name="as-user")
def as_user():
    kubernetes.set_security_context(say(name="x").after(say(name="first")), run_as_user=12345)


@dsl.pipeline(name="ephemeral")
def ephemeral():
    kubernetes.add_ephemeral_volume(
        say(name="x").after(say(name="first")), volume_name="v", mount_path="/v",
        access_modes=["ReadWriteOnce"], size="1Gi",
    )  # fmt: skip


@dsl.pipeline(name="image")
def image():
    other_image().after(say(name="first"))


@dsl.container_component
def distribution():
    return dsl.ContainerSpec(image="alpine:3.20", command=["sh", "-c"], args=["echo SAID here"])


@dsl.container_component
def its_packages():
    return dsl.ContainerSpec(image="alpine:3.20", command=["sh", "-c"], args=["apk add curl"])


@dsl.container_component
def mirrored():
    return dsl.ContainerSpec(
        image="public.ecr.aws/docker/library/python:3.11",
        command=["python3", "-c"],
        args=["print('SAID mirrored')"],
    )


@dsl.pipeline(name="stand-ins")
def stand_ins():
    its_packages().after(distribution())
    mirrored()


@dsl.pipeline(name="too-large")
def too_large():
    say(name="x").set_cpu_request("5000")


@dsl.component(base_image="python:3.11", packages_to_install=["iniconfig==2.1.0"])
def with_package():
    import iniconfig

    print("SAID", iniconfig.__name__)


@dsl.pipeline(name="installs")
def installs():
    with_package()


@dsl.pipeline(name="spoiled")
def spoiled():
    spoil()


@dsl.pipeline(name="said")
def said():
    say(name="here")


def ask(path: str) -> str:
    request = urllib.request.Request(
        os.environ["BESSEMER_PIPELINES"] + path,
        headers={"Authorization": "Bearer " + os.environ["BESSEMER_TOKEN"]},
    )
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def tell(client: kfp.Client, run_id: str) -> dict:
    run = client.wait_for_run_completion(run_id, timeout=90, sleep_duration=0.2)
    heard, tasks = [], {}
    for task in run.run_details.task_details:
        tasks[task.display_name] = {
            "state": task.state,
            "error": task.error.message if task.error else "",
            "pod": task.pod_name,
            "id": task.task_id,
            "history": [change.error.message for change in task.state_history if change.error],
            "pods": [one.pod_name for one in task.child_tasks or () if not one.task_id],
        }
        if task.pod_name:
            log = ask(f"/apis/v2beta1/runs/{run_id}/nodes/{task.task_id}/log")
            heard += [line[5:] for line in log.splitlines() if line.startswith("SAID ")]
    return {
        "run_id": run_id,
        "state": run.state,
        "error": run.error.message if run.error else "",
        "states": [change.state for change in run.state_history],
        "said": sorted(heard),
        "tasks": tasks,
    }


def submit(name: str, *, namespace: str | None = None, root: str | None = None, **arguments):
    client = kfp.Client(namespace=namespace) if namespace else kfp.Client()
    made = client.create_run_from_pipeline_func(
        globals()[name], arguments=arguments, enable_caching=False, pipeline_root=root
    )
    return client, made.run_id


def run(name: str, **more) -> dict:
    return tell(*submit(name, **more))


def run_in(namespace: str) -> dict:
    """By the method's argument instead of the client's."""
    client = kfp.Client()
    made = client.create_run_from_pipeline_func(said, arguments={}, namespace=namespace)
    return tell(client, made.run_id)


def retry(name: str) -> dict:
    """Run, retry, and what each told; the logs of the failed step's attempts."""
    COUNTS.clear()
    client, run_id = submit(name, base=BASE)
    first = tell(client, run_id)
    client._run_api.run_service_retry_run(run_id)
    second = tell(client, run_id)
    failed = next(
        (task for task in second["tasks"].values() if task["pods"]), {"pods": [], "id": ""}
    )
    logs = [ask(f"/apis/v2beta1/runs/{run_id}/nodes/{pod}/log") for pod in failed["pods"]]
    logs.append(ask(f"/apis/v2beta1/runs/{run_id}/nodes/{failed['id']}/log"))
    again = {}
    try:
        client._run_api.run_service_retry_run(run_id)
    except kfp_server_api.ApiException as error:
        again = {"status": error.status, **json.loads(error.body)}
    return {
        "first": first,
        "second": second,
        "counts": {name.strip("/"): count for name, count in COUNTS.items()},
        "logs": logs,
        "again": again,
    }


def wait_reason(name: str) -> dict:
    """What a run and its task say while they wait, as soon as they do."""
    client, run_id = submit(name)
    task = None
    while task is None:
        run = client.get_run(run_id)
        assert run.state in ("PENDING", "RUNNING"), run
        told = (run.run_details.task_details if run.run_details else None) or ()
        task = next((one for one in told if one.error), None)
    run = client.get_run(run_id)
    return {"run_id": run_id, "run": run.error.message, "task": task.error.message}


DEEDS = {"run": run, "run_in": run_in, "retry": retry, "wait_reason": wait_reason}

if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # the SDK prints links
    for line in sys.stdin:
        deed, arguments = json.loads(line)
        try:
            answer = DEEDS[deed](**arguments)
        except kfp_server_api.ApiException as error:
            answer = {"refused": error.status, "message": json.loads(error.body)["message"]}
        except Exception as error:  # noqa: BLE001 - told to the test
            answer = {"broken": repr(error)}
        print(json.dumps(answer, default=str), file=out, flush=True)
