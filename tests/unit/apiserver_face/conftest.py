import pytest

import apiserver_world


@pytest.fixture
async def world(tmp_path):
    async with apiserver_world.running(tmp_path) as found:
        yield found
