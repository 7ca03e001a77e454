"""Our own programs in pods: the server's environment, and our packages on a pod's path."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import bessemer
from bessemer.base.home import Home
from bessemer.cluster.kubelet.runtime.base import Mount


def own_environment() -> Path:
    """The environment that this server runs in."""
    return Path(sys.prefix)


def on_path(
    home: Home, env: Mapping[str, str], packages: tuple[str, ...]
) -> tuple[dict[str, str], Mount]:
    """The variables with those packages of ours on PYTHONPATH, and the mount that shows them."""
    folder = _folder(home, packages)
    before = env.get("PYTHONPATH")
    path = f"{before}{os.pathsep}{folder}" if before else str(folder)
    return {**env, "PYTHONPATH": path}, Mount(folder, str(folder))


@lru_cache(maxsize=4)
def _folder(home: Home, packages: tuple[str, ...]) -> Path:
    """A folder with those packages alone, named by their content: a new release makes its own."""
    root = Path(bessemer.__file__).parent
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    folder = home.environments / f"programs-{digest.hexdigest()[:16]}"
    if not folder.exists():
        home.environments.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".programs-", dir=home.environments))
        draft.chmod(0o755)
        (draft / "bessemer").mkdir()
        shutil.copy(root / "__init__.py", draft / "bessemer" / "__init__.py")
        for package in packages:
            shutil.copytree(root / package, draft / "bessemer" / package)
        draft.rename(folder)
    return folder
