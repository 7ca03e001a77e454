"""Leaders by Lease over each client: the API's own guards decide between two candidates."""

import asyncio

from bessemer.base.clock import SystemClock
from bessemer.control.election import Candidate, Election
from bessemer.control.leadership import Terms
from bessemer.kinds.lease import LEASE
from bessemer.kube.client import Client

TERMS = Terms(duration=30, renew_deadline=20, retry=0.05)


async def test_of_several_candidates_one_leads_and_the_next_when_it_stops(client: Client) -> None:
    leaders: list[str] = []
    terms: asyncio.Queue[str] = asyncio.Queue()

    def stand(identity: str) -> asyncio.Task[None]:
        async def lead() -> None:
            assert leaders == []
            leaders.append(identity)
            terms.put_nowait(identity)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                leaders.remove(identity)

        candidate = Candidate("default", "engine", identity)
        return asyncio.create_task(Election(client, candidate, SystemClock(), TERMS).run(lead))

    standing = {identity: stand(identity) for identity in ("a", "b", "c")}
    seen = []
    async with asyncio.timeout(60):
        for number in range(3):
            seen.append(await terms.get())
            lease = await client.get(LEASE, "engine", "default")
            assert lease["spec"]["holderIdentity"] == seen[-1]
            assert lease["spec"]["leaseDurationSeconds"] == 30
            assert lease["spec"]["leaseTransitions"] == number
            standing[seen[-1]].cancel()
            await asyncio.gather(standing[seen[-1]], return_exceptions=True)

    assert sorted(seen) == ["a", "b", "c"]
    lease = await client.get(LEASE, "engine", "default")
    assert not lease["spec"].get("holderIdentity")
