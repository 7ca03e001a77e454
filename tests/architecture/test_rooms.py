"""What linters have no rule for: each room says what it is, and no module is a sprawl."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "bessemer"
MODULES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted(path.parent for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE)
MAX_LINES = 500
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(SOURCE)))
def test_a_room_says_what_it_is_and_may_import(room: Path) -> None:
    card = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""

    assert len(card.splitlines()) >= 3, f"{room}: what it is, what it may import, what to open"
    assert re.search(r"[Mm]ay import|[Ss]tandard library only|import", card), room


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_is_short_and_named_by_a_noun_of_the_field(module: Path) -> None:
    lines = len(module.read_text().splitlines())

    assert lines <= MAX_LINES, f"{lines} lines: split it by meaning"
    assert module.stem not in VAGUE


def test_every_room_of_the_map_exists_and_every_room_is_on_the_map() -> None:
    drawn = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {
        str(room.relative_to(SOURCE)) for room in ROOMS if len(room.parts) == len(SOURCE.parts) + 1
    }

    named = set(re.findall(r"^([a-z]+)/ ", drawn, flags=re.MULTILINE))
    assert rooms <= named, "docs/architecture.md must name each room"
    assert named <= rooms | {path.stem for path in SOURCE.glob("*.py")}, (
        "docs/architecture.md names rooms that are not there"
    )


def test_no_path_or_host_of_a_machine_is_in_the_repository() -> None:
    places = (str(ROOT), f"{Path.home()}/", "INDEX_URL=http")
    pattern = re.compile("|".join(re.escape(place) for place in places))
    suffixes = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ""}
    hits = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for folder in ("src", "tests", "docs", "examples", "scripts", "benchmarks")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix in suffixes
        and not {".venv", "__pycache__", ".work"} & set(path.parts)
        and path != Path(__file__).resolve()
        for match in pattern.finditer(path.read_text(errors="ignore"))
    ]

    assert hits == []
