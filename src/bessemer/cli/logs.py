"""``bessemer logs``: a pod's log; without a pod, the pods that have one."""

from __future__ import annotations

import sys
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from bessemer.app import folder
from bessemer.base.home import Home
from bessemer.cli import access, options, output


def command(  # noqa: PLR0913 - a command's options
    pod: Annotated[str, typer.Argument(help="The pod; none: list the pods.")] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="The pod's namespace; none: any.")
    ] = "",
    follow: Annotated[  # noqa: FBT002 - typer's form of a flag
        bool, typer.Option("--follow", "-f", help="Go on while the container runs.")
    ] = False,
    container: Annotated[
        str, typer.Option("--container", "-c", help="Which, if the pod has several.")
    ] = "",
    format_: options.Output = options.Format.TABLE,
    home: options.Home = folder.DEFAULT,
    verbose: options.Verbose = False,  # noqa: ARG001, FBT002, RUF100 - every command takes it
) -> None:
    """Print a pod's log; without a pod, list the pods."""
    running = access.Running(home)
    pods = _pods(running, namespace)
    if not pod:
        _list(pods, namespace, format_)
        return
    place = _place(pods, pod, namespace, running.home)
    query = {"follow": "true"} if follow else {}
    if container:
        query["container"] = container
    for piece in running.stream(f"{place}/log?{urlencode(query)}"):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _pods(running: access.Running, namespace: str) -> list[Any]:
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    pods: list[Any] = running.read(f"/api/v1{place}/pods")["items"]
    return pods


def _list(pods: list[Any], namespace: str, format_: options.Format) -> None:
    table = [
        (
            pod["metadata"]["name"],
            pod["metadata"]["namespace"],
            pod.get("status", {}).get("phase", "Pending"),
            pod["metadata"].get("creationTimestamp", ""),
        )
        for pod in pods
    ]
    table.sort(key=lambda row: row[3])
    if format_ is options.Format.JSON:
        output.records(table, _HEADS)
    elif table:
        output.rows(table, _HEADS)
    else:
        typer.echo(f"no pods in namespace {namespace}" if namespace else "no pods")


_HEADS = ("POD", "NAMESPACE", "PHASE", "CREATED")


def _place(pods: list[Any], name: str, namespace: str, home: Home) -> str:
    """The pod's path in the API."""
    option = folder.option(home)
    found = [each["metadata"] for each in pods if each["metadata"]["name"] == name]
    if not found:
        where = f" in namespace {namespace}" if namespace else ""
        raise access.Refused(
            f'pods "{name}" not found{where}; `bessemer logs{option}` lists all pods'
        )
    if len(found) > 1:
        spaces = ", ".join(sorted(each["namespace"] for each in found))
        raise access.Refused(f'pods "{name}" are in several namespaces ({spaces}); choose with -n')
    space = quote(found[0]["namespace"], safe="")
    return f"/api/v1/namespaces/{space}/pods/{quote(name, safe='')}"
