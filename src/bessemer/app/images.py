"""The images of Bessemer's own programs: what each is in a pod on one machine.

The gateway's Envoy comes with this program. A model server is an environment with the packages
that its tag names, in which it finds our own packages on its path.
"""

from __future__ import annotations

from bessemer.cluster.kubelet.images.resolution import Image, Images
from bessemer.kinds import modelserverimage
from bessemer.kinds.lightweight import Install
from bessemer.kinds.modelserverimage import Part

# All of ours that the model server may import: a contract of import-linter holds it to that.
_OURS = ("base", "modelserver")
# What it imports itself, beside the framework.
_SERVER_PACKAGES = (
    "numpy", "joblib", "uvicorn", "uvloop", "httptools", "orjson", "prometheus-client",
)  # fmt: skip
# Frameworks whose package has another name.
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
# What models of a framework may need beside it: those that choose columns by name take DataFrames.
_COMPANIONS = {"sklearn": ("pandas",)}
# Without the GPU communication library (200 MB) that the full package pulls in.
_CPU_ONLY = {"xgboost": "xgboost-cpu"}


def _make_envoy(_tag: str) -> Image:
    return Image(entrypoint=("envoy",), is_own=True)


def _make_modelserver(tag: str) -> Image:
    parts = modelserverimage.parse(tag)
    python = next((part.version for part in parts if part.name == modelserverimage.PYTHON), "")
    frameworks = [part for part in parts if part.name != modelserverimage.PYTHON]
    requirements = [text for part in frameworks for text in _requirements(part)]
    named = {requirement.partition("==")[0] for requirement in requirements}
    requirements += [name for name in _SERVER_PACKAGES if name not in named]
    return Image(
        entrypoint=("python3", "-m", "bessemer.modelserver"),
        python=python,
        installs=(Install(tuple(requirements)),),
        packages=_OURS,
    )


def _requirements(part: Part) -> list[str]:
    name, version = part
    if light := _CPU_ONLY.get(name):
        return [
            f"{light}=={version}; sys_platform == 'linux'",
            f"{name}=={version}; sys_platform != 'linux'",
        ]
    return [f"{_DISTRIBUTIONS.get(name, name)}=={version}", *_COMPANIONS.get(name, ())]


IMAGES = Images(
    {"bessemer/envoy": _make_envoy, modelserverimage.REPOSITORY: _make_modelserver},
)
