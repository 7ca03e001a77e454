"""Finalizers: added once, removed once, guarded by the version that was read."""

import pytest

from bessemer.control import finalizers
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kube.client import Client
from bessemer.kube.errors import Conflict, NotFound

MINE = "bessemer.dev/mine"


async def test_added_and_removed_an_object_goes_when_it_was_deleted(client: Client) -> None:
    obj = await client.create(CONFIG_MAP, meta.new(CONFIG_MAP, "a", "default"))
    held = await finalizers.add(client, CONFIG_MAP, obj, MINE)
    assert finalizers.has(held, MINE)
    assert await finalizers.add(client, CONFIG_MAP, held, MINE) is held
    await client.delete(CONFIG_MAP, "a", "default")
    marked = await client.get(CONFIG_MAP, "a", "default")
    await finalizers.remove(client, CONFIG_MAP, marked, MINE)
    with pytest.raises(NotFound):
        await client.get(CONFIG_MAP, "a", "default")
    assert await finalizers.remove(client, CONFIG_MAP, marked, MINE) is marked


async def test_other_finalizers_stay(client: Client) -> None:
    obj = meta.new(CONFIG_MAP, "a", "default")
    obj["metadata"]["finalizers"] = ["x/y"]
    both = await finalizers.add(client, CONFIG_MAP, await client.create(CONFIG_MAP, obj), MINE)
    assert both["metadata"]["finalizers"] == ["x/y", MINE]
    one = await finalizers.remove(client, CONFIG_MAP, both, MINE)
    assert one["metadata"]["finalizers"] == ["x/y"]


async def test_an_old_reading_conflicts_instead_of_undoing_anothers_finalizer(
    client: Client,
) -> None:
    old = await client.create(CONFIG_MAP, meta.new(CONFIG_MAP, "a", "default"))
    await finalizers.add(client, CONFIG_MAP, old, "x/y")
    with pytest.raises(Conflict):
        await finalizers.add(client, CONFIG_MAP, old, MINE)
    stored = await client.get(CONFIG_MAP, "a", "default")
    assert stored["metadata"]["finalizers"] == ["x/y"]
