"""Every block of docs/commands.md is run, in its order, on one home; its output is as shown."""

import os
import re
import subprocess
from pathlib import Path

import harness

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "commands.md").read_text()
BLOCKS = re.findall(
    r"^```sh(?: terminal=(1))?\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
)
COMMANDS = ("up", "status", "env", "open", "kubeconfig", "logs", "doctor", "down", "prune")


def matches(shown: str, said: str) -> bool:
    """``…`` stands for anything, a run of spaces for any other."""
    parts = [re.escape(" ".join(part.split(" "))) for part in shown.split("…")]
    pattern = re.sub(r"(\\ )+", r"\\s+", ".*".join(parts))
    return re.search(rf"^{pattern}$", said, re.MULTILINE) is not None


def not_said(shown: str, said: str) -> list[str]:
    return [line for line in shown.splitlines() if line and not matches(line, said)]


def test_each_command_has_a_block() -> None:
    assert len(BLOCKS) == len(re.findall(r"^```sh", PAGE, re.MULTILINE))
    for command, (_, script, _) in zip(COMMANDS, BLOCKS, strict=True):
        assert f"bessemer {command}" in script
    assert tuple(re.findall(r"^## (\w+)", PAGE, re.MULTILINE)) == COMMANDS


def test_the_page_is_true(tmp_path: Path) -> None:
    (_, _, ready), *rest = BLOCKS
    with harness.bessemer(tmp_path) as running:
        env = {
            **os.environ,
            "BESSEMER_HOME": str(running.home),
            "NO_COLOR": "1",
            "PATH": f"{harness.PROGRAM.parent}:{os.environ['PATH']}",
        }
        assert not_said(ready, "\n".join(running.lines)) == []
        for terminal, script, shown in rest:
            assert not terminal
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                env=env, capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip

            assert done.returncode == 0, done.stdout + done.stderr
            assert not_said(shown, done.stdout) == [], done.stdout
        assert running.wait() == 0
