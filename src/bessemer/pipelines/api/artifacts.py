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

from bessemer.pipelines import lineage, listing, wire
from bessemer.pipelines.api.http import JsonResponse, Services, params_of, user_of
from bessemer.pipelines.errors import NotFound


class Artifacts:
    """GET /artifacts and /artifacts/{id}; who may read runs may read them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[Route]:
        """The routes, below ``/apis/v2beta1``."""
        return [
            Route("/artifacts", self.list, methods=["GET"]),
            Route("/artifacts/{id}", self.get, methods=["GET"]),
        ]

    async def _check(self, request: Request, verb: str, namespace: str = "") -> None:
        guard, namespace = self._services.guard, namespace or self._services.namespace
        await guard.check(user_of(request), verb, "runs", namespace)

    async def list(self, request: Request) -> Response:
        """A page."""
        await self._check(request, "list")
        params = params_of(request)
        query = listing.parse(params, lineage.ARTIFACT_FIELDS)
        page = await self._services.history.list_artifacts(
            query, self._services.namespace, params.get("run_id", "")
        )
        items = [wire.artifact(record) for record in page.artifacts]
        return JsonResponse(wire.page("artifacts", items, page.total, page.next_token))

    async def get(self, request: Request) -> Response:
        """One, with its lineage."""
        try:
            found = await self._services.history.get_artifact(request.path_params["id"])
        except NotFound:
            await self._check(request, "get")
            raise
        await self._check(request, "get", found.namespace)
        return JsonResponse(wire.artifact(found))
