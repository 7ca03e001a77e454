"""``make demo``: start Bessemer, run the example's job with a live table, stop, leave nothing."""

import argparse
import base64
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import yaml
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bessemer.app import folder

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".bessemer"
HOME = PLACE / "demo"
EXAMPLE = ROOT / "examples" / "breast_cancer"
BESSEMER = Path(sys.executable).with_name("bessemer")
NAMESPACE = "kubeflow"
READY_LIMIT = 60  # seconds
POLL = 0.4  # seconds between looks at the run
COLORS = {"SUCCEEDED": "green", "FAILED": "bold red", "RUNNING": "yellow", "SKIPPED": "cyan"}
#: What kfp's executor logs around a component: its own lines, and JSON over several.
KFP_LINE = re.compile(r"\[KFP Executor|[\s{}]|$")
#: What a demo may reuse of an earlier one, and what says that it is a home; all else starts anew.
KEPT = {"environments", "cache", "version", "lock"}


@dataclass(frozen=True)
class Step:
    """One line of the table."""

    run: str
    name: str
    state: str
    took: str
    tail: str
    why: str = ""  # it waits


class Watcher:
    """Reads runs, tasks and log tails from the API, as the kubeconfig's user."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = ssl.create_default_context(
            cadata=decode(cluster["certificate-authority-data"])
        )
        self.http = httpx.Client(
            base_url=cluster["server"],
            verify=authority,
            headers={"Authorization": f"Bearer {user['token']}"},
            timeout=5,
        )
        self.tails: dict[str, str] = {}
        self.ended: dict[str, dict[str, Any]] = {}

    def steps(self) -> list[Step]:
        """The pods' tasks of all runs, oldest first; empty while the API can't be reached."""
        try:
            runs = self.get("/apis/v2beta1/runs", sort_by="created_at").json().get("runs", [])
            details = [self.details(run) for run in runs]
        except httpx.HTTPError:
            return []
        return [
            self.step(run["display_name"], task)
            for run in details
            for task in run.get("run_details", {}).get("task_details", [])
            if task.get("pod_name") or task.get("state") == "SKIPPED"
        ]

    def get(self, path: str, **query: str | int) -> httpx.Response:
        """One answer; anything but success raises."""
        return self.http.get(path, params=query).raise_for_status()

    def details(self, run: dict[str, Any]) -> dict[str, Any]:
        """A run with its tasks; one that ended is asked for once."""
        if run["run_id"] not in self.ended:
            found: dict[str, Any] = self.get(f"/apis/v2beta1/runs/{run['run_id']}").json()
            if found["state"] not in {"SUCCEEDED", "FAILED"}:
                return found
            self.ended[run["run_id"]] = found
        return self.ended[run["run_id"]]

    def step(self, run: str, task: dict[str, Any]) -> Step:
        """A task as a line; a finished one's log tail is read once.

        One that has not begun to run says what it waits for: mostly packages that are installed.
        """
        state = task.get("state", "PENDING")
        pod = task.get("pod_name", "")
        if pod and pod not in self.tails:
            tail = self.tail(pod)
            if state not in {"PENDING", "RUNNING"}:
                self.tails[pod] = tail
        else:
            tail = self.tails.get(pod, "from the cache" if state == "SKIPPED" else "")
        is_going = state in {"PENDING", "RUNNING"}
        why = task.get("error", {}).get("message", "") if is_going else ""
        took = duration(task.get("start_time"), task.get("end_time"))
        return Step(run, task["display_name"], state, took, tail or why, why)

    def tail(self, pod: str) -> str:
        """The last line that the component itself wrote, or nothing."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"
        with contextlib.suppress(httpx.HTTPError):
            lines = self.get(path, tailLines=40).text.splitlines()
            return next((line for line in reversed(lines) if not KFP_LINE.match(line)), "")
        return ""


def decode(text: str) -> str:
    """Base64 as in a kubeconfig."""
    return base64.b64decode(text).decode()


def duration(start: str | None, end: str | None) -> str:
    """Seconds between two RFC 3339 times, if both are there."""
    if not start or not end:
        return ""
    took = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return f"{took.total_seconds():.1f} s"


def table(steps: list[Step]) -> Table:
    """The live table of steps."""
    drawn = Table(box=None, pad_edge=False, header_style="bold dim", expand=True)
    for title, justify in (
        ("run", "left"),
        ("step", "left"),
        ("state", "left"),
        ("time", "right"),
    ):
        drawn.add_column(title, no_wrap=True, justify=justify)  # type: ignore[arg-type]
    # Only the log gives way in a narrow terminal: states and times are shown whole.
    drawn.add_column("last line of its log", no_wrap=True, ratio=1, style="dim")
    shown = ""
    for step in steps:
        title = "" if step.run == shown else step.run
        shown = step.run
        state = Text(step.state.lower(), style=COLORS.get(step.state, "dim"))
        drawn.add_row(title, step.name, state, step.took, Text(step.tail))
    return drawn


def renew() -> None:
    """Empty the demo's home but for what is only a cache.

    Raises:
        HomeError: an earlier demo runs on it, or is just starting.
    """
    home = folder.locate(HOME)
    if not home.version_file.exists():
        return
    lock = folder.Lock(home)
    try:
        for entry in HOME.iterdir():
            if entry.name not in KEPT:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    finally:
        lock.release()


@contextlib.contextmanager
def bessemer_up(*, keep: bool) -> Iterator[None]:
    """Bessemer while the block runs, and after it when it is to be kept."""
    PLACE.mkdir(exist_ok=True)
    with (PLACE / "demo.log").open("w") as log:
        up = subprocess.Popen(
            [BESSEMER, "up", "--home", HOME],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    stays = False
    try:
        wait_ready(up)
        yield
        stays = keep
    finally:
        if not stays:
            up.send_signal(signal.SIGTERM)
            up.wait()


def wait_ready(up: subprocess.Popen[bytes]) -> None:
    """Until ``bessemer status`` says ready; what it logged instead when it ends or takes long."""
    deadline = time.monotonic() + READY_LIMIT
    while time.monotonic() < deadline and up.poll() is None:
        if subprocess.run(
            [BESSEMER, "status", "--home", HOME], capture_output=True, check=False
        ).returncode == 0:  # fmt: skip
            return
    raise SystemExit("Bessemer did not start:\n" + (PLACE / "demo.log").read_text())


def environment() -> dict[str, str]:
    """What ``eval "$(bessemer env)"`` sets, for the example's script."""
    printed = subprocess.run(
        [BESSEMER, "env", "--home", HOME], capture_output=True, text=True, check=True
    ).stdout
    values = dict(word.split("=", 1) for word in shlex.split(printed) if "=" in word)
    return {**os.environ, **values}


def run_job(console: Console) -> int:
    """The example's script in its own environment, with the steps' table beside its output."""
    watcher = Watcher(HOME / "kubeconfig")
    output = PLACE / "demo-job.log"
    python = EXAMPLE / ".venv" / "bin" / "python"
    with output.open("w") as sink:
        job = subprocess.Popen(
            [python, "-W", "ignore", "job.py"],
            cwd=EXAMPLE,
            env={**environment(), "PYTHONUNBUFFERED": "1"},
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        if console.is_terminal:
            show_live(console, watcher, job)
        else:
            show_lines(console, watcher, job)
    finally:
        if job.poll() is None:
            job.terminate()
    console.print(Text(output.read_text()), soft_wrap=True)
    return job.wait()


def show_live(console: Console, watcher: Watcher, job: subprocess.Popen[bytes]) -> None:
    """A table that changes in place."""
    with Live(console=console, refresh_per_second=8) as live:
        while True:
            ended = wait_for(job)
            steps = watcher.steps()
            waiting = Text("" if ended else "working ...", style="dim")
            live.update(Group(table(steps), waiting))
            if ended:
                return


def show_lines(console: Console, watcher: Watcher, job: subprocess.Popen[bytes]) -> None:
    """A line whenever a step changes its state, or waits for something else."""
    seen: dict[tuple[int, str, str], tuple[str, str]] = {}
    ended = False
    while not ended:
        ended = wait_for(job)
        for index, step in enumerate(watcher.steps()):
            key = (index, step.run, step.name)
            news = step.state, step.why
            if seen.get(key) != news:
                seen[key] = news
                line = f"{step.run:<18} {step.name:<10} {step.state.lower():<10} {step.took:>8}"
                console.print(Text(f"{line}  {step.tail}".rstrip()), soft_wrap=True)


def wait_for(job: subprocess.Popen[bytes]) -> bool:
    """Whether the job ended within a moment."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        job.wait(POLL)
        return True
    return False


def tell_what_stays(console: Console) -> None:
    """Addresses, files, and the commands a person needs next."""
    values = environment()
    short = os.path.relpath(HOME)
    report = next(
        line.removeprefix("report: ")
        for line in (PLACE / "demo-job.log").read_text().splitlines()
        if line.startswith("report: ")
    )
    tensor = {"name": "input-0", "shape": [1, 30], "datatype": "FP64", "data": [1.0] * 30}
    body = json.dumps({"inputs": [tensor]}, separators=(",", ":"))
    url = f"{values['BESSEMER_GATEWAY']}/serving/{NAMESPACE}/breast-cancer"
    link = [str(BESSEMER), "open", "--link", "--home", str(HOME)]
    pages = subprocess.run(link, capture_output=True, text=True, check=True).stdout.strip()
    console.print("\nBessemer goes on running.", style="bold")
    python = f"{EXAMPLE.relative_to(ROOT)}/.venv/bin/python"
    script = f"{EXAMPLE.relative_to(ROOT)}/job.py"
    asking = f'curl -H "Authorization: Bearer $BESSEMER_TOKEN" {url}/v2/models/breast-cancer/infer'
    for title, text in (
        ("API, for kubectl and all SDKs", values["BESSEMER_API"]),
        ("pages: runs, ROC curve, confusion matrix (the link signs in, once)", pages),
        ("the HTML report", report),
        (
            "first, in your shell",
            'export PATH="$PWD/.uv/bin:$PATH"; '
            f'eval "$(uv run --locked bessemer env --home {short})"',
        ),
        ("ask the model", f"{asking} -d '{body}'"),
        ("promote the canary", f"{python} {script} promote"),
        ("roll it back", f"{python} {script} rollback"),
        ("stop", f"uv run --locked bessemer down --home {short}"),
        ("then, to delete everything", f"make clean   (or only this home: rm -rf {short})"),
    ):
        console.print(Text.assemble((f"  {title}\n", "bold"), f"    {text}"), soft_wrap=True)


def main() -> int:
    """Run the demo; the exit code is the job's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave Bessemer running")
    keep = parser.parse_args().keep
    # However it is ended, with its terminal too: what it started ends with it.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda number, _frame: sys.exit(128 + number))
    console = Console(highlight=False)
    try:
        renew()
    except folder.HomeError:
        end = shlex.join([os.path.relpath(BESSEMER), "down", "--home", os.path.relpath(HOME)])
        console.print(f"An earlier demo still runs; end it: {end}", soft_wrap=True)
        return 1
    began = time.monotonic()
    with bessemer_up(keep=keep):
        console.print(f"Bessemer is ready after {time.monotonic() - began:.1f} s")
        code = run_job(console)
        if code:
            console.print("the job failed; Bessemer's own log: .bessemer/demo.log", style="red")
    console.print(f"the whole job took {time.monotonic() - began:.1f} s")
    if keep and code == 0:
        tell_what_stays(console)
    else:
        console.print("stopped; nothing is left running")
    return code


if __name__ == "__main__":
    sys.exit(main())
