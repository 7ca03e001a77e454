"""``bessemer logs``: a pod's log; without a pod, the pods that have one."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from bessemer.app import folder
from bessemer.cli import access, options, output


def command(
    pod: Annotated[str, typer.Argument(help="The pod; none: list the pods.")] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="The pod's namespace.")
    ] = "kubeflow",
    follow: Annotated[  # noqa: FBT002 - typer's form of a flag
        bool, typer.Option("--follow", "-f", help="Go on while the container runs.")
    ] = False,
    container: Annotated[
        str, typer.Option("--container", "-c", help="Which, if the pod has several.")
    ] = "",
    home: options.Home = folder.DEFAULT,
    verbose: options.Verbose = False,  # noqa: ARG001, FBT002, RUF100 - every command takes it
) -> None:
    """Print a pod's log, or list the pods of a namespace."""
    running = access.Running(home)
    place = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"
    if not pod:
        _list(running, place, namespace)
        return
    query = {"follow": "true"} if follow else {}
    if container:
        query["container"] = container
    for piece in running.stream(f"{place}/{quote(pod, safe='')}/log?{urlencode(query)}"):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _list(running: access.Running, place: str, namespace: str) -> None:
    pods = running.read(place)["items"]
    if not pods:
        typer.echo(f"no pods in namespace {namespace}; choose another with -n")
        return
    table = [
        (
            pod["metadata"]["name"],
            pod.get("status", {}).get("phase", "Pending"),
            pod["metadata"].get("creationTimestamp", ""),
        )
        for pod in pods
    ]
    output.rows(sorted(table, key=lambda row: row[2]), ("POD", "PHASE", "CREATED"))
