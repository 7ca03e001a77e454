"""Every block of docs/serving.md is run, in its order, on one home; its output is as shown."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Running]:
    for tool in ("kubectl", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"the page is for people who have {tool}, which this machine has not")
    with harness.bessemer(tmp_path_factory.mktemp("doc")) as one:
        if not one.is_sandboxed:
            pytest.skip("without namespaces mounts are refused, as the docs say")
        yield one


def test_each_command_has_its_output_beside_it() -> None:
    assert len(BLOCKS) == len(re.findall(r"^```sh", PAGE, re.MULTILINE)) > 0


@pytest.mark.timeout(400)
def test_the_page_is_true(running: harness.Running) -> None:
    exported = harness.run("env", "--home", str(running.home)).out
    for script, shown in BLOCKS:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", exported + script],
            env=dict(os.environ), capture_output=True, text=True, check=False,
        )  # fmt: skip

        assert done.returncode == 0, done.stdout + done.stderr
        for line in shown.splitlines():
            begins = line.partition("…")[0]
            assert any(said.startswith(begins) for said in done.stdout.splitlines()), done.stdout
