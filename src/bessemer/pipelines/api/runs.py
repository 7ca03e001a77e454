"""Routes of runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bessemer.base import ids
from bessemer.pipelines import listing, retrying, run_catalog, spec, tree, v2beta1
from bessemer.pipelines.api.access import asked
from bessemer.pipelines.api.http import RouteDependencies, load_spec
from bessemer.pipelines.records import Lease, Run, RunState, StateChange, Task
from bessemer.web.answers import JsonResponse
from bessemer.web.bodies import read_json
from bessemer.web.errors import InvalidArgument, NotFound
from bessemer.web.requests import params_of
from bessemer.web.streams import chain

_MAX_DIGITS = 18  # of a number of lines


class Runs:
    """GET, POST, DELETE /runs, the verbs on a run, and the logs of its steps."""

    def __init__(self, services: RouteDependencies) -> None:
        self._services = services
        self._history = services.history
        self._runs = services.runs
        self._catalog = services.catalog

    def routes(self) -> list[Route]:
        """The routes, below ``/apis/v2beta1``."""
        one = "/runs/{id}"
        verbs = {
            "archive": self.archive,
            "unarchive": self.unarchive,
            "terminate": self.terminate,
            "retry": self.retry,
        }
        return [
            Route("/runs", self.list, methods=["GET"]),
            Route("/runs", self.create, methods=["POST"]),
            *(Route(f"{one}:{verb}", call, methods=["POST"]) for verb, call in verbs.items()),
            Route(one, self.get, methods=["GET"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(one + "/nodes/{node}/log", self.log, methods=["GET"]),
        ]

    async def _find(self, request: Request, verb: str) -> Run:
        try:
            run = await self._runs.get_run(request.path_params["id"])
        except NotFound:
            await self._services.admit(request, verb, "runs")
            raise
        await self._services.admit(request, verb, "runs", run.namespace)
        return run

    async def list(self, request: Request) -> Response:
        """A page, without tasks; of an experiment's namespace if one is named."""
        params = params_of(request)
        experiment_id, namespace = params.get("experiment_id", ""), params.get("namespace", "")
        if experiment_id and not namespace:
            with contextlib.suppress(NotFound):
                namespace = (await self._catalog.get_experiment(experiment_id)).namespace
        namespace = await self._services.admit(request, "list", "runs", namespace)
        query = listing.parse(params, run_catalog.RUN_FIELDS)
        page = await self._runs.list_runs(query, namespace, experiment_id)
        items = [v2beta1.run(run) for run in page.runs]
        return JsonResponse(v2beta1.page("runs", items, page.total, page.next_token))

    async def create(self, request: Request) -> Response:
        """A new run of an IR, or of a pipeline's version; the engine takes it from there."""
        body = v2beta1.parse(v2beta1.RUN, await read_json(request))
        experiment_id, namespace = await self._find_place(request, body.get("experiment_id", ""))
        if body.get("plugins_output"):
            raise InvalidArgument(
                "plugins_output is the server's to write, but the request has one; leave it out"
            )
        config = body.get("runtime_config", {})
        name = v2beta1.check_display_name(body.get("display_name", ""), "a run's display_name")
        source = await self._read_source(request, body)
        checked, parameters = source.pop("checked"), config.get("parameters", {})
        # Defaults are filled in by the engine: the history keeps what was submitted.
        arguments = spec.check_arguments(checked, parameters)
        now = self._services.clock.now()
        run = Run(
            id=ids.make_uid(),
            namespace=namespace,
            display_name=name,
            parameters=parameters,
            state=RunState.PENDING,
            created_at=now,
            scheduled_at=now,
            experiment_id=experiment_id,
            recurring_run_id=body.get("recurring_run_id", ""),
            pipeline_root=config.get("pipeline_root", ""),
            service_account=body.get("service_account", ""),
            description=body.get("description", ""),
            history=(StateChange(RunState.PENDING, now),),
            plugins_input=body.get("plugins_input", {}),
            lease=Lease(self._services.cluster.replica),
            **source,
        )
        if (trial := self._services.cluster.trial) is not None:
            await trial.check(run, checked, arguments)
        if not run.experiment_id:
            default = await self._catalog.ensure_default(namespace, now)
            run = replace(run, experiment_id=default.id)
        await self._runs.create_run(run)
        self._services.wake(run.id)
        return JsonResponse(v2beta1.run(run))

    async def _find_place(self, request: Request, experiment_id: str) -> tuple[str, str]:
        """The experiment that a new run names, if any, and the namespace, where it is allowed."""
        if not experiment_id:
            return "", await self._services.admit(request, "create", "runs")
        try:
            experiment = await self._catalog.get_experiment(experiment_id)
        except NotFound:
            await self._services.admit(request, "create", "runs")
            raise
        given = params_of(request).get("namespace", experiment.namespace)
        await self._services.admit(request, "create", "runs", experiment.namespace)
        if given != experiment.namespace:
            raise InvalidArgument(
                f"the run is for namespace {given!r}, but its experiment {experiment_id} is in "
                f"{experiment.namespace!r}; name an experiment of that namespace"
            )
        return experiment_id, experiment.namespace

    async def _read_source(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """The IR of a new run, checked, and the version that it is of."""
        reference = {
            name: value
            for name, value in body.get("pipeline_version_reference", {}).items()
            if value
        }
        given = [name for name in ("pipeline_spec", "pipeline_version_id") if body.get(name)]
        if reference:
            given.append("pipeline_version_reference")
        if len(given) != 1:
            raise InvalidArgument(
                "a run needs exactly one of pipeline_spec and pipeline_version_reference, "
                f"but got {', '.join(given) or 'none'}"
            )
        if given == ["pipeline_spec"]:
            checked = await load_spec(body["pipeline_spec"])
            return {
                "checked": checked,
                "spec": checked.document,
                "platform_spec": checked.platform_document,
            }
        version = await self._catalog.get_version(
            reference.get("pipeline_id", ""),
            body.get("pipeline_version_id") or reference.get("pipeline_version_id", ""),
        )
        pipeline = await self._catalog.get_pipeline(version.pipeline_id)
        await self._services.check(request, "get", "pipelines", pipeline.namespace)
        checked = await load_spec(v2beta1.spec_document(version.spec, version.platform_spec))
        return {
            "checked": checked,
            "spec": version.spec,
            "platform_spec": version.platform_spec,
            "pipeline_id": version.pipeline_id,
            "pipeline_version_id": version.id,
        }

    async def get(self, request: Request) -> Response:
        """One, with its tasks."""
        run = await self._find(request, "get")
        tasks = await self._load_tasks(run.id)
        # Thousands of tasks take their time, in which others want to be served.
        return await asyncio.to_thread(lambda: JsonResponse(v2beta1.run(run, tasks)))

    async def _load_tasks(self, run_id: str) -> Sequence[Task]:
        found = await self._history.load_run(run_id)
        if found is None:
            raise run_catalog.missing_run(run_id)
        return found[1]

    async def delete(self, request: Request) -> Response:
        """Forget one; the engine ends what still runs of it."""
        run = await self._find(request, "delete")
        await self._runs.delete_run(run.id)
        await self._services.logs.forget(run.id)
        self._services.wake(run.id)
        return JsonResponse({})

    async def terminate(self, request: Request) -> Response:
        """Ask for its end."""
        run = await self._find(request, "terminate")
        await self._runs.terminate_run(run.id, self._services.clock.now())
        self._services.wake(run.id)
        return JsonResponse({})

    async def retry(self, request: Request) -> Response:
        """Let a failed one go on where it failed."""
        run = await self._find(request, "retry")
        run_catalog.check_retry(run.id, run.state)
        checked = await load_spec({"pipeline_spec": run.spec, "platform_spec": run.platform_spec})
        now = self._services.clock.now()
        tasks = await self._load_tasks(run.id)
        reset = await asyncio.to_thread(retrying.plan_retry, checked, tasks, now)
        await self._runs.retry_run(run, reset, now, self._services.cluster.replica)
        self._services.wake(run.id)
        return JsonResponse({})

    async def archive(self, request: Request) -> Response:
        """Put it aside."""
        run = await self._find(request, "archive")
        await self._runs.archive_run(run.id)
        return JsonResponse({})

    async def unarchive(self, request: Request) -> Response:
        """Take it back."""
        run = await self._find(request, "unarchive")
        await self._runs.unarchive_run(run.id)
        return JsonResponse({})

    async def log(self, request: Request) -> Response:
        """A step's log as text: ``follow=true`` until it ends, ``tail_lines=N`` the last lines.

        The node is a task's id, a pod's name (of an earlier attempt, too), or the task's name if
        only one has it. ``attempt=N`` is that attempt's, counted from 0; without it, the last's.
        """
        run = await self._find(request, "get")
        tasks = await self._load_tasks(run.id)
        params = params_of(request)
        task = find_attempt(tasks, request.path_params["node"], params.get("attempt", ""))
        tail = params.get("tail_lines", "")
        if tail and not (tail.isdecimal() and len(tail) <= _MAX_DIGITS):
            raise InvalidArgument(
                f"tail_lines must be a whole number of at most {_MAX_DIGITS} digits, "
                f"but got {tail[:80]!r}; leave it out for the whole log"
            )
        pieces = self._services.logs.read(
            run,
            task,
            follow=params.get("follow", "") == "true",
            tail_lines=int(tail) if tail else None,
        )
        # The first piece is read before the answer starts, so that "no log" can still be a 404.
        first = await anext(pieces, b"")
        pieces = self._services.guard.while_allowed(
            request, asked("get", "runs", run.namespace), chain(first, pieces)
        )
        return StreamingResponse(pieces, media_type="text/plain")


def find_attempt(tasks: Sequence[Task], node: str, attempt: str = "") -> Task:
    """The task that a log's address names, with the pod of the attempt that it names.

    Raises:
        NotFound: no such task, or no such attempt of it.
    """
    by_id = {task.id: task for task in tasks}
    for task in tasks:
        for pod in tree.earlier_pods(task, by_id):
            if pod == node:
                return replace(task, pod_name=pod)
    task = find_task(tasks, node)
    pods = [*tree.earlier_pods(task, by_id), *filter(None, [task.pod_name])]
    if not attempt:
        # One that is about to be retried has no pod yet: its last words are its last pod's.
        return replace(task, pod_name=pods[-1]) if pods else task
    if not (attempt.isdecimal() and len(attempt) <= _MAX_DIGITS and int(attempt) < len(pods)):
        raise NotFound(
            f"attempt must be one of {list(range(len(pods)))} of task {task.id}, but got "
            f"{attempt[:80]!r}"
        )
    return replace(task, pod_name=pods[int(attempt)])


def find_task(tasks: Sequence[Task], node: str) -> Task:
    """The task that a log's address names.

    Raises:
        NotFound: none, or several of that name.
    """
    for task in tasks:
        if node in (task.id, task.pod_name):
            return task
    named = [task for task in tasks if node in (task.name, task.display_name)]
    if len(named) != 1:
        raise NotFound(
            f"node must be a task's id, its pod's name, or a name that one task has, but {node!r} "
            f"fits {len(named)}"
        )
    return named[0]
