"""Routes of artifacts: ours, in the shape that upstream plans (KFP proposal 12147).

``GET /artifacts/{id}`` answers {artifact_id, name, type, uri, metadata, run_id, task_id,
created_at, artifact_tasks: [{task_id, run_id, type: INPUT | OUTPUT, key}]}, the last being its
lineage. ``GET /artifacts?run_id=`` lists what a run's tasks took or gave; page_size, page_token,
sort_by and filter are those of every listing.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bessemer.pipelines import lineage, listing, v2beta1
from bessemer.pipelines.api.http import RouteDependencies
from bessemer.web.answers import JsonResponse
from bessemer.web.errors import NotFound
from bessemer.web.requests import params_of


class Artifacts:
    """GET /artifacts and /artifacts/{id}; who may read runs may read them."""

    def __init__(self, services: RouteDependencies) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """The routes, below ``/apis/v2beta1``."""
        return [
            Route("/artifacts", self.list, methods=["GET"]),
            Route("/artifacts/{id}", self.get, methods=["GET"]),
        ]

    async def list(self, request: Request) -> Response:
        """A page."""
        params = params_of(request)
        run_id = params.get("run_id", "")
        namespace = await self._services.runs.namespace_of_run(run_id) if run_id else ""
        namespace = await self._services.admit(request, "list", "runs", namespace)
        query = listing.parse(params, lineage.ARTIFACT_FIELDS)
        page = await self._services.runs.list_artifacts(query, namespace, run_id)
        items = [v2beta1.artifact(record) for record in page.artifacts]
        return JsonResponse(v2beta1.page("artifacts", items, page.total, page.next_token))

    async def get(self, request: Request) -> Response:
        """One, with its lineage."""
        try:
            found = await self._services.runs.get_artifact(request.path_params["id"])
        except NotFound:
            await self._services.admit(request, "get", "runs")
            raise
        await self._services.admit(request, "get", "runs", found.namespace)
        return JsonResponse(v2beta1.artifact(found))
