"""Who reaches what over HTTP: a launcher with the token of its run, and anybody else."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from bessemer.artifacts import protocol
from bessemer.artifacts.face import ArtifactsFace
from bessemer.artifacts.http import HttpStore
from bessemer.artifacts.store import Elsewhere, Missing, TooLarge, Unauthenticated
from bessemer.artifacts.tokens import Tokens
from bessemer.artifacts.volume import ROOT, VolumeStore
from bessemer.base.clock import SystemClock

from .conftest import OTHER, TEAM, Place, grant, pieces, serving

MINE, THEIRS = f"{ROOT}/p/mine", f"{ROOT}/p/theirs"


async def test_one_runs_token_reaches_no_other_run(
    volume: Place, http: httpx.AsyncClient, tokens: Tokens
) -> None:
    await volume.put("p/theirs/model", b"secret")
    await volume.put("p/mine-too/model", b"secret")
    await volume.put("p/mine/model", b"mine")
    store = HttpStore(http, {TEAM: tokens.sign(grant(TEAM, MINE))})

    assert (await store.find(TEAM, f"{MINE}/model")) is not None
    for uri in (f"{THEIRS}/model", f"{THEIRS}/none", THEIRS, ROOT, f"{MINE}-too/model"):
        for verb in (store.find, store.open, store.delete):
            with pytest.raises(Elsewhere, match="is not for run run-of-team"):
                await verb(TEAM, uri)
        with pytest.raises(Elsewhere):
            await store.write(TEAM, uri, pieces(b"x"))
        with pytest.raises(Elsewhere):
            await store.lay_out(TEAM, [uri])
        with pytest.raises(Elsewhere):
            await anext(store.list(TEAM, uri))
    assert await volume.content("p/theirs/model") == b"secret"


async def test_inputs_of_another_run_are_read_and_not_written(
    volume: Place, http: httpx.AsyncClient, tokens: Tokens
) -> None:
    await volume.put("p/theirs/step/model/part", b"weights")
    await volume.put("p/theirs/step/other", b"secret")
    shown = tokens.sign(grant(TEAM, MINE, f"{THEIRS}/step/model"))
    store = HttpStore(http, {TEAM: shown})
    part = f"{THEIRS}/step/model/part"

    opened = await store.open(TEAM, part)
    assert b"".join([piece async for piece in opened.read(range(opened.size))]) == b"weights"
    with pytest.raises(Elsewhere, match="to write"):
        await store.write(TEAM, part, pieces(b"x"))
    with pytest.raises(Elsewhere, match="to write"):
        await store.delete(TEAM, part)
    with pytest.raises(Elsewhere, match="to read"):
        await store.find(TEAM, f"{THEIRS}/step/other")


async def test_a_token_counts_in_its_namespace_alone(
    volume: Place, http: httpx.AsyncClient, tokens: Tokens
) -> None:
    await volume.put("p/mine/model", b"secret", OTHER)
    # The client says another namespace, with the token that it has.
    store = HttpStore(http, {OTHER: tokens.sign(grant(TEAM, MINE))})

    assert await store.find(OTHER, f"{MINE}/model") is None
    with pytest.raises(Elsewhere, match="no token"):
        await store.find(TEAM, MINE)


async def test_no_token_but_a_whole_one_of_ours_counts(
    http: httpx.AsyncClient, tokens: Tokens
) -> None:
    good = tokens.sign(grant(TEAM, MINE))
    payload, _, mac = good.partition(".")
    wide, _, _ = tokens.sign(grant(TEAM, ROOT)).partition(".")
    foreign = Tokens(bytes(32), SystemClock()).sign(grant(TEAM, MINE))

    async def answer(token: str, scheme: str = "Bearer") -> int:
        headers = {"Authorization": f"{scheme} {token}".strip()}
        return (await http.get(protocol.ENTRY, params={"uri": MINE}, headers=headers)).status_code

    assert await answer(good) == 200
    for token in (
        "",
        ".",
        payload,
        f"{payload}.",
        f"{wide}.{mac}",
        f"{good}A",
        foreign,
        "x" * 999,
    ):
        assert await answer(token) == 401
    assert await answer(good, "Basic") == 401
    assert (await http.get(protocol.ENTRY, params={"uri": MINE})).status_code == 401
    assert await answer(tokens.sign(grant("../other", MINE))) == 403


async def test_a_token_ends(http: httpx.AsyncClient, tokens: Tokens) -> None:
    store = HttpStore(http, {TEAM: tokens.sign(grant(TEAM, MINE, seconds=0.0))})

    with pytest.raises(Unauthenticated, match="run-of-team expired"):
        await store.find(TEAM, MINE)


async def test_a_file_beyond_all_measure_is_refused_and_not_kept(
    volume: Place, tokens: Tokens
) -> None:
    async with serving(ArtifactsFace(volume.store, tokens, largest=10)) as http:
        store = HttpStore(http, {TEAM: tokens.sign(grant(TEAM))})
        await store.write(TEAM, MINE, pieces(b"12345", b"67890"))
        with pytest.raises(TooLarge, match="10 bytes"):
            await store.write(TEAM, MINE, pieces(b"12345", b"678901"))
    assert await volume.content("p/mine") == b"1234567890"


async def test_what_a_killed_face_left_is_deleted_at_the_next_start(volume: Place) -> None:
    store = volume.store
    assert isinstance(store, VolumeStore)
    assert volume.disk is not None
    drafts = volume.disk.parents[2] / ".drafts"

    def leave() -> None:
        drafts.mkdir()
        (drafts / "half").write_bytes(b"half")

    await asyncio.to_thread(leave)
    await volume.put("p/mine/model", b"whole")
    await store.discard_drafts(TEAM)
    await store.discard_drafts(OTHER)

    assert not await asyncio.to_thread(drafts.exists)
    assert await volume.content("p/mine/model") == b"whole"
    with pytest.raises(Missing):
        await store.open(TEAM, f"{ROOT}/p/none")
