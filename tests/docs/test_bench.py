"""``make bench`` knows what it measures, and refuses what it does not, before it begins."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"


@pytest.fixture
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_run", RUN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_word_it_measures_everything_that_there_is(run: ModuleType) -> None:
    there = {path.stem.removeprefix("bench_") for path in RUN.parent.glob("bench_*.py")}

    assert set(run.choose([])) == there
    assert run.choose(["api"]) == ["api"]


def test_an_unknown_part_is_named(run: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.choose(["api", "speed"])

    assert "the parts are start, pipelines, api, serving, but got speed" in capsys.readouterr().err
