"""The contracts between rooms hold what they say: a leak of each sort turns ``make check`` red.

Each leak is planted into a copy of the source, and import-linter judges that as it judges ours.
"""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "bessemer"
#: Modules that still import some of ours by name, unseen by mypy and the contracts. None is added.
BY_NAME = {
    "cli/__init__.py", "cli/doctor.py", "cli/prune.py", "cli/up.py",
    "cluster/apiserver/proxy.py", "cluster/kubelet/probes.py", "database/schema.py",
    "modelserver/frameworks/base.py", "modelserver/frameworks/xgboost.py",
}  # fmt: skip
#: Where a line is planted, the line, and how the contract is called that has to break.
LEAKS = [
    ("serving/plan.py", "import bessemer.cluster.store.store", "Rooms import down only, and no"),
    (
        "cluster/scheduler/plan.py",
        "import bessemer.serving.plan",
        "Rooms import down only, and no",
    ),
    ("gateway/plan.py", "import bessemer.serving.plan", "Rooms import down only, and no"),
    ("kinds/meta.py", "import bessemer.kube.client", "Rooms import down only, and no"),
    ("cluster/store/store.py", "import bessemer.cluster.apiserver.rbac", "The embedded cluster's"),
    ("cluster/store/store.py", "import bessemer.database.engine", "The embedded cluster keeps no"),
    ("serving/plan.py", "import bessemer.base.home", "Capabilities know no home"),
    ("pipelines/engine.py", "import os", "Capabilities know no home"),
    ("dashboard/overview.py", "import subprocess", "Capabilities know no home"),
    ("serving/storage.py", "import bessemer.artifacts.claim", "Capabilities know no home"),
    ("artifacts/store.py", "import bessemer.pipelines.records", "Rooms import down only, and no"),
    ("pipelines/plan.py", "import bessemer.kube.http", "Plans are pure"),
    ("cluster/kubelet/plan.py", "import time", "Plans are pure"),
    ("kinds/meta.py", "import bessemer.kinds.pod", "No cycles among modules"),
    ("app/main.py", "import bessemer.launcher.supervisor", "Nobody imports the programs"),
    ("launcher/supervisor.py", "import bessemer.kube.client", "The programs that run in pods"),
    ("kube/client.py", "import sqlite3", "One door for SQLite"),
    ("cluster/store/store.py", "import subprocess", "One door for processes"),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source in it, to be spoilt."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(SOURCE, folder / "bessemer", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def judge(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config",
         ROOT / "pyproject.toml"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_as_it_is_the_source_breaks_none(copied: Path) -> None:
    code, told = judge(copied)

    assert code == 0, told
    assert "0 broken" in told


@pytest.mark.parametrize(("place", "line", "contract"), LEAKS, ids=lambda value: value)
def test_a_leak_breaks_its_contract(copied: Path, place: str, line: str, contract: str) -> None:
    module = copied / "bessemer" / place
    before = module.read_text()
    try:
        module.write_text(f"{before}\n{line}\n")
        code, told = judge(copied)
    finally:
        module.write_text(before)

    assert code != 0
    assert re.search(rf"^{re.escape(contract)}.* BROKEN\b", told, re.MULTILINE), told


def test_every_contract_has_a_leak_that_breaks_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = [one["name"] for one in settings["tool"]["importlinter"]["contracts"]]

    assert [
        name for name in names if not any(name.startswith(contract) for *_, contract in LEAKS)
    ] == []


def around_the_contracts(tree: ast.AST) -> list[str]:
    """What import-linter doesn't see: our own modules by name, and files without ``pathlib``."""
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _is_by_name(node)
    ]


def _is_by_name(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    if name == "import_module":
        return any("bessemer" in ast.unparse(given) for given in call.args)
    return name == "__import__"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("importlib.import_module('bessemer.app.objects').read(home)", 1),
        ("import_module(f'bessemer.modelserver.{name}')", 1),
        ("__import__('os').unlink(path)", 1),
        ("importlib.import_module(f'sqlalchemy.dialects.{dialect}')", 0),
    ],
)
def test_a_way_around_the_contracts_is_found(line: str, found: int) -> None:
    assert len(around_the_contracts(ast.parse(line))) == found


def test_no_more_modules_go_around_the_contracts() -> None:
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if around_the_contracts(ast.parse(path.read_text()))
    }

    assert found == BY_NAME
