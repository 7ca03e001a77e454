"""Events: told once, repeats counted, and never in anybody's way."""

import logging
from typing import Any, cast

import pytest

from bessemer.control.events import EventRecorder
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.event import EVENT
from bessemer.kinds.kind import Object
from bessemer.kinds.node import NODE
from bessemer.kube.client import Client
from bessemer.kube.errors import Forbidden


async def create_map(client: Client, name: str = "a") -> Object:
    return await client.create(CONFIG_MAP, meta.new(CONFIG_MAP, name, "team"))


async def test_an_event_names_who_what_and_why(client: Client, clock: Any) -> None:
    obj = await create_map(client)
    await EventRecorder(client, "tester", clock).record(obj, "Warning", "Broken", "it broke")
    (event,) = (await client.list(EVENT)).items
    assert meta.namespace(event) == "team"
    assert event["involvedObject"]["uid"] == meta.uid(obj)
    assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("ConfigMap", "a")
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "Broken", "it broke")
    assert event["source"] == {"component": "tester"}
    assert event["firstTimestamp"] == "2026-11-23T12:00:00Z"


async def test_repeats_are_counted_by_a_restarted_recorder_too(client: Client, clock: Any) -> None:
    obj = await create_map(client)
    for _ in range(3):
        await EventRecorder(client, "tester", clock).record(obj, "Normal", "Again", "same")
        await clock.advance(60)
    await EventRecorder(client, "tester", clock).record(obj, "Normal", "Again", "another")
    events = {event["message"]: event for event in (await client.list(EVENT)).items}
    assert {message: event["count"] for message, event in events.items()} == {
        "same": 3,
        "another": 1,
    }
    assert events["same"]["firstTimestamp"] == "2026-11-23T12:00:00Z"
    assert events["same"]["lastTimestamp"] == "2026-11-23T12:02:00Z"


async def test_events_of_cluster_scoped_objects_are_in_default(client: Client, clock: Any) -> None:
    node = await client.create(NODE, meta.new(NODE, "n"))
    await EventRecorder(client, "tester", clock).record(node, "Normal", "Ready", "it is")
    (event,) = (await client.list(EVENT)).items
    assert meta.namespace(event) == "default"
    assert event["involvedObject"]["namespace"] == ""


async def test_a_refused_event_is_only_logged(
    client: Client, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing:
        async def create(self, kind: object, obj: Object) -> Object:
            raise Forbidden("the namespace is being terminated")

    obj = await create_map(client)
    recorder: Any = EventRecorder(cast(Client, Refusing()), "tester", clock)
    with caplog.at_level(logging.WARNING):
        await recorder.record(obj, "Normal", "Late", "too late")
    assert [record.message for record in caplog.records] == ["event not recorded"]
    assert (await client.list(EVENT)).items == []
