"""Routes of experiments."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bessemer.base import ids
from bessemer.pipelines import catalog, listing, v2beta1
from bessemer.pipelines.api.http import RouteDependencies
from bessemer.web.answers import JsonResponse
from bessemer.web.bodies import read_json
from bessemer.web.errors import NotFound
from bessemer.web.requests import params_of


class Experiments:
    """GET, POST, DELETE /experiments and the archive verbs."""

    def __init__(self, services: RouteDependencies) -> None:
        self._catalog = services.catalog
        self._services = services

    def routes(self) -> list[Route]:
        """The routes, below ``/apis/v2beta1``."""
        one = "/experiments/{id}"
        return [
            Route("/experiments", self.list, methods=["GET"]),
            Route("/experiments", self.create, methods=["POST"]),
            Route(one + ":archive", self.archive, methods=["POST"]),
            Route(one + ":unarchive", self.unarchive, methods=["POST"]),
            Route(one, self.get, methods=["GET"]),
            Route(one, self.delete, methods=["DELETE"]),
        ]

    async def _find(self, request: Request, verb: str) -> catalog.Experiment:
        try:
            experiment = await self._catalog.get_experiment(request.path_params["id"])
        except NotFound:
            await self._services.admit(request, verb, "experiments")
            raise
        await self._services.admit(request, verb, "experiments", experiment.namespace)
        return experiment

    async def list(self, request: Request) -> Response:
        """A page."""
        namespace = await self._services.admit(request, "list", "experiments")
        query = listing.parse(params_of(request), catalog.EXPERIMENT_FIELDS)
        found, total, token = await self._catalog.list_experiments(query, namespace)
        items = [v2beta1.experiment(record) for record in found]
        return JsonResponse(v2beta1.page("experiments", items, total, token))

    async def create(self, request: Request) -> Response:
        """A new one; its name must be free."""
        body = v2beta1.parse(v2beta1.EXPERIMENT, await read_json(request))
        given = self._services.namespace_of(request, body.get("namespace", ""))
        await self._services.check(request, "create", "experiments", given)
        experiment = catalog.Experiment(
            id=ids.make_uid(),
            namespace=given,
            name=v2beta1.check_name(body.get("display_name", ""), "an experiment's display_name"),
            description=body.get("description", ""),
            created_at=self._services.clock.now(),
        )
        await self._catalog.create_experiment(experiment)
        return JsonResponse(v2beta1.experiment(experiment))

    async def get(self, request: Request) -> Response:
        """One."""
        return JsonResponse(v2beta1.experiment(await self._find(request, "get")))

    async def delete(self, request: Request) -> Response:
        """Forget one; its runs stay."""
        experiment = await self._find(request, "delete")
        await self._catalog.delete_experiment(experiment.id)
        return JsonResponse({})

    async def archive(self, request: Request) -> Response:
        """Archive one with all its runs."""
        experiment = await self._find(request, "archive")
        await self._catalog.set_experiment_state(experiment.id, "ARCHIVED")
        return JsonResponse({})

    async def unarchive(self, request: Request) -> Response:
        """Take one back; its runs stay archived."""
        experiment = await self._find(request, "unarchive")
        await self._catalog.set_experiment_state(experiment.id, "AVAILABLE")
        return JsonResponse({})
