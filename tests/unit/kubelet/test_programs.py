"""What a model server's pod finds of us on its path."""

import ast
from pathlib import Path

from bessemer.app.images import IMAGES
from bessemer.base.home import Home
from bessemer.cluster.kubelet.images import programs


def test_the_model_server_finds_all_of_ours_that_it_imports(tmp_path: Path) -> None:
    image = IMAGES.resolve("bessemer/modelserver:sklearn-1.9.1")
    env, mount = programs.on_path(Home(tmp_path), {}, image.packages)

    folder = Path(env["PYTHONPATH"])
    files = list(folder.rglob("*.py"))
    imported = {
        module
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (module := node.module or "").startswith("bessemer")
    }
    assert mount.target == str(folder)
    assert (folder / "bessemer" / "modelserver" / "__main__.py") in files
    assert "bessemer.base.clock" in imported
    for name in imported:
        place = folder.joinpath(*name.split("."))
        assert place.is_dir() or place.with_suffix(".py").is_file(), name
