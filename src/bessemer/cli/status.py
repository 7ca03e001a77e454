"""``bessemer status``: whether each part is ready, asked from outside as a client would."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

import typer

from bessemer.app import folder
from bessemer.cli import access, options, output

_MOST_REASONS = 3  # of pods that wait, in one line


class Part(NamedTuple):
    """One line of the table."""

    name: str
    state: str  # ready, waiting or down
    detail: str


def command(
    home: options.Home = folder.DEFAULT,
    format_: options.Output = options.Format.TABLE,
    verbose: options.Verbose = False,  # noqa: ARG001, FBT002, RUF100 - every command takes it
) -> None:
    """Say whether everything is ready (exit code 0) or what is not (exit code 1)."""
    running = access.Running(home)
    parts = [_api(running), _node(running), _pipelines(running), _gateway(running)]
    is_ready = all(part.state == "ready" for part in parts)
    if format_ is options.Format.JSON:
        answer = {
            "ready": is_ready,
            "pid": running.pid,
            "home": str(running.home.root),
            "parts": [part._asdict() for part in parts],
        }
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo(f"Bessemer on home {running.home.root}, pid {running.pid}\n")
        output.rows(parts, ("PART", "STATE", "DETAIL"))
    raise SystemExit(0 if is_ready else 1)


def _api(running: access.Running) -> Part:
    try:
        running.read("/readyz")
    except access.Refused as problem:
        return Part("api", "down", str(problem))
    return Part("api", "ready", running.api)


def _node(running: access.Running) -> Part:
    try:
        nodes = running.read("/api/v1/nodes")["items"]
        pods = running.read("/api/v1/pods")["items"]
    except access.Refused as problem:
        return Part("node", "down", str(problem))
    runtime = folder.told_runtime(running.home)
    for node in nodes:
        for condition in node.get("status", {}).get("conditions", ()):
            if condition["type"] == "Ready" and condition["status"] == "True":
                told = "; ".join([_count(pods), f"runtime {runtime}", *_pressures(node)])
                return Part("node", "ready", told)
    return Part("node", "waiting", "its Ready condition is not True")


def _pressures(node: dict[str, Any]) -> list[str]:
    """What the node runs short of, in its own words: DiskPressure and the like."""
    return [
        f"{one['type']}: {one.get('message', '')}"
        for one in node["status"]["conditions"]
        if one["type"].endswith("Pressure") and one["status"] == "True"
    ]


def _count(pods: list[dict[str, Any]]) -> str:
    phases = Counter(pod.get("status", {}).get("phase", "Pending") for pod in pods)
    if not phases:
        return "no pods"
    told = ", ".join(f"{number} {phase}" for phase, number in sorted(phases.items()))
    reasons = [f"{pod['metadata']['name']}: {why}" for pod in pods if (why := _why_waits(pod))]
    more = f"; {len(reasons) - _MOST_REASONS} more wait" if len(reasons) > _MOST_REASONS else ""
    return "; ".join([f"pods: {told}", *reasons[:_MOST_REASONS]]) + more


def _why_waits(pod: dict[str, Any]) -> str:
    """What a pod that does not run yet waits for, as its status says."""
    status = pod.get("status", {})
    if status.get("phase", "Pending") != "Pending":
        return ""
    for one in status.get("conditions", ()):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return f"cannot be scheduled: {one.get('message', '')}"
    for container in status.get("containerStatuses", ()):
        if message := container.get("state", {}).get("waiting", {}).get("message"):
            return str(message)
    return ""


def _pipelines(running: access.Running) -> Part:
    try:
        running.read("/apis/v2beta1/healthz")
    except access.Refused as problem:
        return Part("pipelines", "down", str(problem))
    if not running.answers(running.pages_port):
        return Part("pipelines", "down", f"no answer at {running.pages}")
    return Part("pipelines", "ready", running.pages)


def _gateway(running: access.Running) -> Part:
    if not running.answers(running.gateway_port):
        return Part("gateway", "waiting", f"no answer at {running.gateway}")
    return Part("gateway", "ready", running.gateway)
