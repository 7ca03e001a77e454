"""What the serving controller does about a world that others change, and its own crashes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import serving_world
from bessemer.cluster.apiserver.machine import Machine
from bessemer.kinds import meta
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.httproute import HTTP_ROUTE
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE, STOP
from bessemer.kinds.kind import Kind, Object
from bessemer.kinds.service import SERVICE
from bessemer.kinds.servingruntime import SERVING_RUNTIME
from bessemer.kube.client import DeleteOptions
from bessemer.kube.errors import ServiceUnavailable
from bessemer.kube.inprocess import InProcessClient
from serving_world import TEAM, World

KINDS = (INFERENCE_SERVICE, DEPLOYMENT, SERVICE, HTTP_ROUTE)
FIRST = "iris-predictor-00001"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with serving_world.open_world(tmp_path, KINDS, InProcessClient) as world:
        yield world


async def test_a_deleted_service_is_made_again(world: World) -> None:
    await world.create_claim()
    isvc = await world.declare("iris")
    old = await world.until(SERVICE, FIRST)
    await world.client.delete(SERVICE, FIRST, TEAM)

    new = await world.until(SERVICE, FIRST, lambda found: meta.uid(found) != meta.uid(old))
    assert new["spec"]["selector"] == old["spec"]["selector"]
    assert (meta.controller_of(new) or {})["uid"] == meta.uid(isvc)


async def test_what_is_left_of_one_of_the_same_name_is_waited_for_and_replaced(
    world: World,
) -> None:
    await world.create_claim()
    await world.declare("iris")
    await world.until(DEPLOYMENT, FIRST)
    # Nobody collects here: the test does, in the order that is the worst.
    await world.client.delete(INFERENCE_SERVICE, "iris", TEAM)
    isvc = await world.declare("iris")
    told = await world.until_told("iris", "NameTaken")
    assert f"Deployment {FIRST}" in told["message"]

    def is_new(obj: Object) -> bool:
        return bool((meta.controller_of(obj) or {})["uid"] == meta.uid(isvc))

    for kind in (DEPLOYMENT, SERVICE):
        await world.client.delete(kind, FIRST, TEAM)
        await world.until(kind, FIRST, is_new)


async def test_a_route_of_another_is_not_taken_and_told(world: World) -> None:
    await world.create_claim()
    route = meta.new(HTTP_ROUTE, "iris", TEAM, spec={"rules": [{}]})
    await world.client.create(HTTP_ROUTE, route)
    await world.declare("iris")
    await world.until(SERVICE, FIRST)
    await world.play_ready(FIRST)

    told = await world.until_told("iris", "NameTaken", "IngressReady")
    assert "HTTPRoute iris" in told["message"]
    await world.client.delete(HTTP_ROUTE, "iris", TEAM)
    await world.until_told("iris", "RouteNotProgrammed", "IngressReady")


async def test_a_claim_that_comes_later_is_served_from(world: World) -> None:
    await world.declare("iris")
    await world.until_told("iris", "ClaimNotFound")
    # Once another is told, the first is at rest.
    await world.declare("other")
    await world.until_told("other", "ClaimNotFound")
    await world.create_claim()

    made = await world.until(DEPLOYMENT, FIRST)
    volumes = made["spec"]["template"]["spec"]["volumes"]
    claims = [each.get("persistentVolumeClaim") for each in volumes]
    assert {"claimName": "models", "readOnly": True} in claims


class Breaking(InProcessClient):
    """Its second deletion does not come through, as if the process had ended before it."""

    deletions = 0

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", options: DeleteOptions | None = None
    ) -> None:
        self.deletions += 1
        if self.deletions == 2:
            raise ServiceUnavailable("broken off")
        await super().delete(kind, name, namespace, options)


async def test_a_crash_in_the_middle_of_a_removal_leaves_nothing(tmp_path: Path) -> None:
    clients: list[Breaking] = []

    def make_client(machine: Machine) -> Breaking:
        clients.append(Breaking(machine))
        return clients[0]

    async with serving_world.open_world(tmp_path, KINDS, make_client) as world:
        await world.create_claim()
        isvc = await world.declare("iris")
        await world.until(SERVICE, FIRST)
        await world.until(DEPLOYMENT, FIRST)
        notes = {"metadata": {"annotations": {STOP: "true"}}}
        await world.client.patch(INFERENCE_SERVICE, meta.name(isvc), TEAM, notes)

        for kind in (DEPLOYMENT, SERVICE):
            await world.until_gone(kind, FIRST)
    assert clients[0].deletions > 2


async def test_a_runtime_that_makes_no_container_is_told(world: World) -> None:
    spec = {
        "supportedModelFormats": [{"name": "sklearn", "autoSelect": True}],
        "containers": [{"name": "kserve-container", "image": "x", "args": ["{{.Labels.kind}}"]}],
    }
    await world.client.create(SERVING_RUNTIME, meta.new(SERVING_RUNTIME, "own", TEAM, spec=spec))
    await world.create_claim()
    await world.declare("iris")

    told = await world.until_told("iris", "InvalidPredictorSpec")
    assert "{{.Labels.kind}}" in told["message"]
