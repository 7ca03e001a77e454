"""Routes of pipelines, their versions, and uploads."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bessemer.base import ids
from bessemer.pipelines import catalog, listing, uploads, v2beta1
from bessemer.pipelines.api.http import RouteDependencies, load_spec
from bessemer.web.answers import JsonResponse
from bessemer.web.bodies import read_beside, read_json
from bessemer.web.errors import InvalidArgument, NotFound, Unimplemented
from bessemer.web.requests import params_of

_MAX_TAGS = 20
_MAX_TAG = 63  # characters of a key, and of a value


def check_tags(tags: object) -> dict[str, str]:
    """The tags, if they are.

    Raises:
        InvalidArgument: not an object of strings, too many, too long, or a dot in a key.
    """
    if not isinstance(tags, dict) or not all(isinstance(one, str) for one in tags.values()):
        raise InvalidArgument(f"tags must be a JSON object of strings, but got {tags!r}")
    if len(tags) > _MAX_TAGS:
        raise InvalidArgument(f"there may be {_MAX_TAGS} tags, but got {len(tags)}")
    for key, value in tags.items():
        if not key or "." in key or len(key) > _MAX_TAG or len(value) > _MAX_TAG:
            raise InvalidArgument(
                f"a tag's key and value may have {_MAX_TAG} characters and the key no dot, "
                f"but got {key[:80]!r}: {value[:80]!r}"
            )
    return tags


class Pipelines:
    """GET, POST, PATCH, DELETE /pipelines and /pipelines/{id}/versions; the uploads."""

    def __init__(self, services: RouteDependencies) -> None:
        self._services = services
        self._catalog = services.catalog

    def routes(self) -> list[Route]:
        """The routes, below ``/apis/v2beta1``; fixed names before ids."""
        one, versions = "/pipelines/{id}", "/pipelines/{id}/versions"
        version = versions + "/{version_id}"
        return [
            Route("/pipelines/upload", self.upload, methods=["POST"]),
            Route("/pipelines/upload_version", self.upload_version, methods=["POST"]),
            Route("/pipelines/create", self.create_with_version, methods=["POST"]),
            Route("/pipelines/names/{name}", self.get_by_name, methods=["GET"]),
            Route("/pipelines", self.list, methods=["GET"]),
            Route("/pipelines", self.create, methods=["POST"]),
            Route(one, self.get, methods=["GET"]),
            Route(one, self.update, methods=["PATCH"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(versions, self.list_versions, methods=["GET"]),
            Route(versions, self.create_version, methods=["POST"]),
            Route(version, self.get_version, methods=["GET"]),
            Route(version, self.update_version, methods=["PATCH"]),
            Route(version, self.delete_version, methods=["DELETE"]),
        ]

    async def _find(self, request: Request, verb: str, id_: str = "") -> catalog.Pipeline:
        try:
            pipeline = await self._catalog.get_pipeline(id_ or request.path_params["id"])
        except NotFound:
            await self._services.admit(request, verb, "pipelines")
            raise
        await self._services.admit(request, verb, "pipelines", pipeline.namespace)
        return pipeline

    # -- pipelines -----------------------------------------------------------------------------

    async def list(self, request: Request) -> Response:
        """A page."""
        namespace = await self._services.admit(request, "list", "pipelines")
        query = listing.parse(params_of(request), catalog.PIPELINE_FIELDS)
        found, total, token = await self._catalog.list_pipelines(query, namespace)
        items = [v2beta1.pipeline(record) for record in found]
        return JsonResponse(v2beta1.page("pipelines", items, total, token))

    def _make(self, body: Mapping[str, Any], namespace: str) -> catalog.Pipeline:
        given = body.get("name") or body.get("display_name", "")
        name = v2beta1.check_name(given, "a pipeline's name")
        display_name = body.get("display_name") or name
        return catalog.Pipeline(
            id=ids.make_uid(),
            namespace=namespace,
            name=name,
            display_name=v2beta1.check_display_name(display_name, "a pipeline's display_name"),
            description=body.get("description", ""),
            created_at=self._services.clock.now(),
            tags=check_tags(body.get("tags", {})),
        )

    async def _check_new(self, request: Request, body: Mapping[str, Any]) -> str:
        given = self._services.namespace_of(request, body.get("namespace", ""))
        await self._services.check(request, "create", "pipelines", given)
        return given

    async def create(self, request: Request) -> Response:
        """A new one without versions."""
        body = v2beta1.parse(v2beta1.PIPELINE, await read_json(request))
        pipeline = self._make(body, await self._check_new(request, body))
        await self._catalog.create_pipeline(pipeline)
        return JsonResponse(v2beta1.pipeline(pipeline))

    async def create_with_version(self, request: Request) -> Response:
        """A new one with its first version (its IR inline; we fetch no addresses)."""
        body = v2beta1.parse(v2beta1.PIPELINE_AND_VERSION, await read_json(request))
        given = body.get("pipeline", {})
        pipeline = self._make(given, await self._check_new(request, given))
        given = {
            "name": pipeline.name,
            "display_name": pipeline.display_name,
            "description": pipeline.description,
        }
        version = await self._make_version(
            pipeline.id, {**given, **body.get("pipeline_version", {})}
        )
        await self._catalog.create_pipeline(pipeline, version)
        return JsonResponse(v2beta1.pipeline(pipeline))

    async def get(self, request: Request) -> Response:
        """One."""
        return JsonResponse(v2beta1.pipeline(await self._find(request, "get")))

    async def get_by_name(self, request: Request) -> Response:
        """One, by its name."""
        namespace = await self._services.admit(request, "get", "pipelines")
        name = request.path_params["name"]
        pipeline = await self._catalog.find_pipeline(namespace, name)
        return JsonResponse(v2beta1.pipeline(pipeline))

    async def update(self, request: Request) -> Response:
        """Change the display name and the tags."""
        pipeline = await self._find(request, "update")
        body = v2beta1.parse(v2beta1.PIPELINE, await read_json(request))
        changed = replace(pipeline, **_changes(body))
        await self._catalog.update_pipeline(changed)
        return JsonResponse(v2beta1.pipeline(changed))

    async def delete(self, request: Request) -> Response:
        """Forget one; with versions only if ``cascade=true``."""
        pipeline = await self._find(request, "delete")
        cascade = params_of(request).get("cascade", "").lower() == "true"
        await self._catalog.delete_pipeline(pipeline.id, cascade=cascade)
        return JsonResponse({})

    # -- versions ------------------------------------------------------------------------------

    async def _make_version(
        self, pipeline_id: str, body: Mapping[str, Any], document: str | None = None
    ) -> catalog.Version:
        """A version of the IR in the body, or of the uploaded text, checked."""
        source = document or body.get("pipeline_spec")
        if not source and body.get("package_url"):
            raise Unimplemented(
                "a version needs its pipeline in the request, but got a package_url, which we "
                "don't fetch; upload the file"
            )
        if not source:
            raise InvalidArgument(
                "a version needs a pipeline_spec, but got none; upload the compiled file, or put "
                "its content there"
            )
        checked = await load_spec(source)
        given = body.get("name") or body.get("display_name") or checked.name
        name = v2beta1.check_name(given, "a version's name")
        display_name = body.get("display_name") or name
        return catalog.Version(
            id=ids.make_uid(),
            pipeline_id=pipeline_id,
            name=name,
            display_name=v2beta1.check_display_name(display_name, "a version's display_name"),
            spec=checked.document,
            platform_spec=checked.platform_document,
            description=body.get("description", ""),
            created_at=self._services.clock.now(),
            code_source_url=body.get("code_source_url", ""),
            tags=check_tags(body.get("tags", {})),
        )

    async def list_versions(self, request: Request) -> Response:
        """A page of a pipeline's versions."""
        pipeline = await self._find(request, "list")
        query = listing.parse(params_of(request), catalog.VERSION_FIELDS)
        found, total, token = await self._catalog.list_versions(query, pipeline.id)
        items = [v2beta1.version(record) for record in found]
        return JsonResponse(v2beta1.page("pipeline_versions", items, total, token))

    async def create_version(self, request: Request) -> Response:
        """A new one (its IR inline; we fetch no addresses)."""
        pipeline = await self._find(request, "create")
        body = v2beta1.parse(v2beta1.VERSION, await read_json(request))
        version = await self._make_version(pipeline.id, body)
        await self._catalog.create_version(version)
        return JsonResponse(v2beta1.version(version))

    async def _find_version(self, request: Request, verb: str) -> catalog.Version:
        pipeline = await self._find(request, verb)
        return await self._catalog.get_version(pipeline.id, request.path_params["version_id"])

    async def get_version(self, request: Request) -> Response:
        """One."""
        return JsonResponse(v2beta1.version(await self._find_version(request, "get")))

    async def update_version(self, request: Request) -> Response:
        """Change the display name and the tags."""
        version = await self._find_version(request, "update")
        body = v2beta1.parse(v2beta1.VERSION, await read_json(request))
        changed = replace(version, **_changes(body))
        await self._catalog.update_version(changed)
        return JsonResponse(v2beta1.version(changed))

    async def delete_version(self, request: Request) -> Response:
        """Forget one; runs of it keep their IR."""
        version = await self._find_version(request, "delete")
        await self._catalog.delete_version(version.pipeline_id, version.id)
        return JsonResponse({})

    # -- uploads -------------------------------------------------------------------------------

    async def upload(self, request: Request) -> Response:
        """A file as a new pipeline with its first version."""
        namespace = await self._services.admit(request, "create", "pipelines")
        params, file_name, text = await _read_upload(request)
        params.setdefault("name", params.get("display_name") or file_name)
        pipeline = self._make(params, namespace)
        # The query's tags are the pipeline's, as upstream has it; the rest is of both.
        version = await self._make_version(pipeline.id, {**params, "tags": {}}, text)
        await self._catalog.create_pipeline(pipeline, version)
        return JsonResponse(v2beta1.pipeline(pipeline))

    async def upload_version(self, request: Request) -> Response:
        """A file as a new version of a pipeline."""
        id_ = params_of(request).get("pipelineid", "")
        if not id_:
            raise InvalidArgument("a version's upload needs the query pipelineid, but has none")
        pipeline = await self._find(request, "create", id_)
        params, file_name, text = await _read_upload(request)
        params.setdefault("name", params.get("display_name") or file_name)
        version = await self._make_version(pipeline.id, params, text)
        await self._catalog.create_version(version)
        return JsonResponse(v2beta1.version(version))


def _changes(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a PATCH changes; of the other fields, which the client sends back, nothing."""
    changes: dict[str, Any] = {}
    if "display_name" in body:
        name = v2beta1.check_display_name(body["display_name"], "a display_name")
        changes["display_name"] = name
    if "tags" in body:
        changes["tags"] = check_tags(body["tags"])
    return changes


async def _read_upload(request: Request) -> tuple[dict[str, Any], str, str]:
    """The query with its tags read, the file's name, and the pipeline's text."""
    params: dict[str, Any] = params_of(request)
    if "tags" in params:
        params["tags"] = _parse_tags(params["tags"])
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidArgument(
            "an upload must be multipart/form-data with the field 'uploadfile', but got "
            f"{request.headers.get('content-type', 'no Content-Type')!r}"
        )
    async with request.form(max_files=1, max_fields=10) as form:
        file = form.get("uploadfile")
        if not isinstance(file, UploadFile):
            raise InvalidArgument("an upload needs the file field 'uploadfile', but has none")
        data = await file.read()
        name = posixpath.basename((file.filename or "").rstrip("/"))
    return params, name, await read_beside(partial(uploads.read_pipeline, name), data)


def _parse_tags(text: str) -> dict[str, str]:
    try:
        tags = orjson.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"tags must be a JSON object, but got {text[:80]!r}") from error
    return check_tags(tags)
