"""A load that comes and goes, and what is left of it once everything of it is deleted.

Each lap runs pipelines by REST (a chain, parameters of megabytes, a loop), opens watches whose
readers don't read, runs plain pods, reads logs, lists, then deletes all of that. What is held
against the first measurement, after warm-up laps, is told in ``LIMITS``; every minute one line of
JSON says where it is. The exit status is 1 where something did not come back.

``make soak`` takes 30 minutes; ``make test-long`` has a form of one minute.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from bessemer_up import Up, bessemer

from bessemer.base.home import Home
from bessemer.cluster.kubelet.volumes import memory

ROOT = Path(__file__).resolve().parents[1]
SDKS = ROOT / "examples" / "breast_cancer" / ".venv" / "bin" / "python"
PIPELINES = ROOT / "benchmarks" / "soak_pipelines.py"
WARM_UP_LAPS = 6
ITERATIONS = 30  # of each lap's loop
WATCHES = 60  # opened in each lap
OBJECTS = 200  # ConfigMaps of 2 kB that watches begin with: more than one watch's buffers hold
PODS = 4  # plain ones in each lap
PATIENCE = 120.0  # seconds for a run, or for the end of what was deleted
#: Seconds of nothing before a measurement: what is free is given back every ten. The long form
#: also waits until the history of watches is compacted, which takes two rounds of 75.
SETTLE = 25.0
SETTLE_LONG = 165.0
NAMESPACE = "kubeflow"

#: How far each figure may be above the first measurement: a share of it, and a number more.
LIMITS = {
    "anonymous_bytes": (0.15, 0),
    "descriptors": (0.0, 8),  # a connection that is kept open, a database reader
    "threads": (0.0, 6),  # pools start their threads one by one, and keep them
    "tasks": (0.0, 8),
    "processes": (0.0, 0),
    "zombies": (0.0, 0),
    "pod_folders": (0.0, 0),
    "memory_folders": (0.0, 0),
    "run_files": (0.0, 0),
    "log_bytes": (0.0, 1 << 20),
    "wal_bytes": (0.0, 16 << 20),  # two logs, each cut to 8 MiB when it starts over
}


@dataclass(frozen=True)
class Census:
    """What the control plane and its home hold at one moment."""

    pss_bytes: int  # the pages of files among them are shared with whoever else runs Python
    anonymous_bytes: int  # its own memory: what is held
    blocks: int  # objects and buffers of Python
    descriptors: int
    threads: int
    tasks: int  # of asyncio
    processes: int  # of the whole home
    zombies: int
    pod_folders: int
    memory_folders: int  # in /dev/shm
    run_files: int
    log_bytes: int
    wal_bytes: int


class Api:
    """The https API as the admin, a connection a request."""

    def __init__(self, up: Up) -> None:
        home = Home(up.home)
        self.port = json.loads(home.config.read_text())["port"]
        self._headers = {
            "Authorization": f"Bearer {(home.keys / 'admin.token').read_text().strip()}",
            "Content-Type": "application/json",
        }
        self._tls = ssl.create_default_context(cafile=str(home.keys / "ca.crt"))

    def open(self, method: str, path: str, body: Any = None) -> http.client.HTTPSConnection:
        """A connection on which the request was sent."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE, context=self._tls
        )
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, self._headers)
        return connection

    def ask(self, method: str, path: str, body: Any = None, *, missing_ok: bool = False) -> Any:
        """The answer, parsed where it is JSON."""
        with contextlib.closing(self.open(method, path, body)) as connection:
            response = connection.getresponse()
            data = response.read()
            if not response.status < 300 and not (missing_ok and response.status == 404):
                raise SystemExit(f"{method} {path}: {response.status} {data[:2000].decode()}")
            is_json = "json" in (response.getheader("content-type") or "")
            return json.loads(data) if is_json else data.decode()

    def until(self, path: str, holds: Any) -> Any:
        """Ask until it holds of the answer."""
        end = time.monotonic() + PATIENCE
        while not holds(answer := self.ask("GET", path)):
            if time.monotonic() > end:
                raise SystemExit(f"it did not come true within {PATIENCE} s: {path}")
            time.sleep(0.2)
        return answer


def take_census(up: Up, api: Api) -> Census:
    """Measured from outside, but for what only the server's own metrics know."""
    home = Home(up.home)
    process = psutil.Process(up.process.pid)
    rollup = dict(
        re.findall(r"^(\w+):\s+(\d+) kB", _read(f"/proc/{process.pid}/smaps_rollup"), re.MULTILINE)
    )
    metrics = dict(re.findall(r"^(\w+) ([\d.e+]+)$", api.ask("GET", "/metrics"), re.MULTILINE))
    family = [process, *process.children(recursive=True)]
    return Census(
        pss_bytes=int(rollup["Pss"]) * 1024,
        anonymous_bytes=int(rollup["Anonymous"]) * 1024,
        blocks=int(float(metrics["python_allocated_blocks"])),
        descriptors=process.num_fds(),
        threads=process.num_threads(),
        tasks=int(float(metrics["python_asyncio_tasks"])),
        processes=len(family),
        zombies=sum(_is_zombie(member) for member in family),
        pod_folders=_count(home.pods),
        memory_folders=_count(memory.locate(home)),
        run_files=_count(home.run),
        log_bytes=sum(path.stat().st_size for path in (home.root / "logs").rglob("*")),
        wal_bytes=sum(path.stat().st_size for path in home.root.glob("*.db-wal")),
    )


def _read(path: str) -> str:
    return Path(path).read_text()


def _count(folder: Path) -> int:
    return len(list(folder.iterdir())) if folder.exists() else 0


def _is_zombie(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return False


class Load:
    """What a lap does."""

    def __init__(self, api: Api, pipelines: dict[str, Any]) -> None:
        self._api = api
        self._pipelines = pipelines
        self._numbers = itertools.count()
        for number in range(OBJECTS):
            name = f"soak-{number}"
            body = {"metadata": {"name": name}, "data": {"text": "x" * 2000}}
            api.ask("POST", "/api/v1/namespaces/default/configmaps", body)

    def lap(self) -> None:
        """Everything once, and the end of all of it."""
        seed = str(next(self._numbers))
        with self._watches():
            runs = [
                self._start("chain"),
                self._start("parameters", seed=seed),
                self._start("loop", items=list(range(ITERATIONS))),
            ]
            self._run_pods()
            for run in runs:
                path = f"/apis/v2beta1/runs/{run}"
                ended = self._api.until(path, lambda found: found["state"] in _ENDED)
                if ended["state"] != "SUCCEEDED":
                    raise SystemExit(f"a run failed: {ended.get('error')}")
            self._api.ask("GET", "/api/v1/pods")
            self._api.ask("GET", f"/apis/v2beta1/runs?namespace={NAMESPACE}&page_size=50")
        for run in runs:
            self._api.ask("DELETE", f"/apis/v2beta1/runs/{run}")
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        self._api.until(pods, lambda found: not found["items"])
        # They stay for an hour, as upstream: not what this is about.
        for namespace in (NAMESPACE, "default"):
            self._api.ask("DELETE", f"/api/v1/namespaces/{namespace}/events")

    def _start(self, name: str, **parameters: Any) -> str:
        body = {
            "display_name": f"soak {name}",
            "pipeline_spec": self._pipelines[name],
            "runtime_config": {"parameters": parameters},
        }
        run: str = self._api.ask("POST", "/apis/v2beta1/runs", body)["run_id"]
        return run

    @contextlib.contextmanager
    def _watches(self) -> Iterator[None]:
        """Many at once, of which nobody reads anything."""
        with contextlib.ExitStack() as stack:
            for kind in itertools.islice(
                itertools.cycle(("pods", "configmaps", "events")), WATCHES
            ):
                opened = self._api.open("GET", f"/api/v1/{kind}?watch=1")
                stack.enter_context(contextlib.closing(opened))
                opened.getresponse()
            yield

    def _run_pods(self) -> None:
        place = "/api/v1/namespaces/default/pods"
        names = [f"soak-{next(self._numbers)}" for _ in range(PODS)]
        for name in names:
            container = {
                "name": "main",
                "image": "python:3.11",
                "command": [
                    "sh",
                    "-c",
                    "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done",
                ],
            }
            spec = {"restartPolicy": "Never", "containers": [container]}
            self._api.ask("POST", place, {"metadata": {"name": name}, "spec": spec})
        for name in names:
            self._api.until(f"{place}/{name}", lambda pod: pod["status"]["phase"] in _OVER)
            assert "line 199" in self._api.ask("GET", f"{place}/{name}/log")
            self._api.ask("DELETE", f"{place}/{name}?gracePeriodSeconds=0", missing_ok=True)
        self._api.until(place, lambda found: not found["items"])


_ENDED = ("SUCCEEDED", "FAILED", "CANCELED")  # a run's states
_OVER = ("Succeeded", "Failed")  # a pod's phases


def judge(begin: Census, end: Census) -> list[str]:
    """What did not come back."""
    faults = []
    for name, (share, more) in LIMITS.items():
        before, after = getattr(begin, name), getattr(end, name)
        most = before * (1 + share) + more
        if after > most:
            faults.append(f"{name}: {after} at the end, {before} at the begin; at most {most:.0f}")
    return faults


def tell(label: str, laps: int, census: Census) -> None:
    """One line of JSON."""
    print(json.dumps({"at": label, "laps": laps, **asdict(census)}), flush=True)


def soak(up: Up, minutes: float) -> tuple[Census, Census]:
    """The censuses before and after that many minutes of laps."""
    api = Api(up)
    compiled = subprocess.run([SDKS, PIPELINES], capture_output=True, text=True, check=True)
    load = Load(api, json.loads(compiled.stdout))
    settle = SETTLE_LONG if minutes > 10 else SETTLE
    tell("ready", 0, take_census(up, api))
    for _ in range(WARM_UP_LAPS):
        load.lap()
    time.sleep(settle)
    begin = take_census(up, api)
    tell("begin", WARM_UP_LAPS, begin)
    began = told = time.monotonic()
    laps = 0
    while (now := time.monotonic()) - began < minutes * 60:
        load.lap()
        laps += 1
        if now - told >= 60:
            told = now
            tell(f"{(now - began) / 60:.0f} min", laps, take_census(up, api))
    time.sleep(settle)
    end = take_census(up, api)
    tell("end", laps, end)
    return begin, end


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes = parser.parse_args().minutes
    with bessemer() as up:
        begin, end = soak(up, minutes)
    faults = judge(begin, end)
    for fault in faults:
        print(f"did not come back: {fault}")
    share = end.anonymous_bytes / begin.anonymous_bytes - 1
    print(f"memory at the end {share:+.1%} of the begin's {begin.anonymous_bytes / 2**20:.0f} MiB")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
