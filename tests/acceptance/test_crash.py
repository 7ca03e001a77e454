"""``kill -9`` of the control plane at random moments, during a long run and with a served model.

After each restart nothing acknowledged is lost, running pods are adopted, the model never
stopped answering, no finished step runs twice, and the run ends SUCCEEDED.
"""

import collections
import http.server
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import harness

CLIENTS = Path(__file__).parent / "clients"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WAIT = """
import kfp, sys
print(kfp.Client().wait_for_run_completion(sys.argv[1], timeout=600, sleep_duration=1).state)
"""
SEED = 20261123
STEPS = 59  # in the loop; one more collects them
STEP_SECONDS = 0.5
PAUSE_SECONDS = (0.05, 0.8)  # between ready and the next kill
RUN_LIMIT = 240  # seconds
ROW = {"name": "input-0", "shape": [1, 30], "datatype": "FP64", "data": [1.0] * 30}


class Counter(http.server.ThreadingHTTPServer):
    """Counts what the steps say: the side effects that must not happen twice."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.began: collections.Counter[str] = collections.Counter()
        self.ended: collections.Counter[str] = collections.Counter()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Counter

    def do_POST(self) -> None:
        _, which, index = self.path.split("/")
        with self.server.lock:
            getattr(self.server, which)[index] += 1
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


class Caller(threading.Thread):
    """Asks the model all the time, and keeps what was no good answer."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(daemon=True)
        self.url = f"{url}/v2/models/steady/infer"
        self.headers = {"Authorization": f"Bearer {token}"}
        self.stop = threading.Event()
        self.good = 0
        self.bad: list[str] = []

    def run(self) -> None:
        with httpx.Client(headers=self.headers, timeout=10) as client:
            while not self.stop.wait(0.01):
                try:
                    answer = client.post(self.url, json={"inputs": [ROW]})
                except httpx.HTTPError as error:
                    self.bad.append(repr(error))
                    continue
                if answer.status_code == 200:
                    self.good += 1
                else:
                    self.bad.append(answer.text)


@pytest.fixture
def counter() -> Iterator[Counter]:
    server = Counter()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def run_client(bessemer: harness.Running, name: str, *words: str) -> str:
    """The last line that a script of ``clients`` prints."""
    return bessemer.client(CLIENTS / name, *words, timeout=RUN_LIMIT).strip().splitlines()[-1]


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.long)])
@harness.needs_sdks
def test_kill_9_at_random_moments_loses_and_doubles_nothing(
    tmp_path: Path, counter: Counter, kills: int
) -> None:
    chance = random.Random(SEED)
    with harness.bessemer(tmp_path) as bessemer:
        url = run_client(bessemer, "deploy_model.py")
        caller = Caller(url, bessemer.token)
        caller.start()
        lasting = {path.split("/")[1] for path in bessemer.pod_pids()}
        assert len(lasting) == 2
        run_id = run_client(bessemer, "long_run.py", counter.url, str(STEP_SECONDS * kills / 10))

        for number in range(kills):
            made = {"metadata": {"name": f"kept-{number}"}, "data": {"n": str(number)}}
            bessemer.create(CONFIG_MAPS, made)
            caller.stop.wait(chance.uniform(*PAUSE_SECONDS))
            before = bessemer.pod_pids()
            bessemer.kill9()
            bessemer.restart()
            after = bessemer.pod_pids()
            kept = {one["metadata"]["name"] for one in bessemer.get(CONFIG_MAPS)["items"]}
            assert {f"kept-{n}" for n in range(number + 1)} <= kept
            adopted = before.keys() & after.keys()
            assert {path.split("/")[1] for path in adopted} >= lasting, (
                "Envoy and the model run on"
            )
            for folder in adopted:
                assert before[folder] == after[folder], "an adopted pod is the same process"

        state = bessemer.client(WAIT, run_id, timeout=RUN_LIMIT).split()[-1]
        caller.stop.set()
        caller.join()

    assert state == "SUCCEEDED"
    assert counter.ended == {str(index): 1 for index in range(STEPS)}
    assert counter.began == counter.ended
    assert caller.bad == []
    assert caller.good > kills
