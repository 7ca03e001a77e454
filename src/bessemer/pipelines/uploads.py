"""What a user uploads: the pipeline's text out of a YAML, JSON, zip or tar.gz file. Pure.

An archive is never unpacked to a disk: the one file that it may hold is read from memory, and no
more of it than we take, so that neither its paths nor a bomb can harm.
Source: KFP apiserver/server/util.go ReadPipelineFile.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from typing import IO, Any

import yaml

from bessemer.kube import yamlshape
from bessemer.pipelines.spec.documents import MAX_VALUES
from bessemer.web.errors import InvalidArgument, TooLarge

# Bytes; 8 MiB of YAML come to a gigabyte of Python's objects if all values are short, so that
# values are counted, too.
MAX_BYTES = 8 * 1024 * 1024
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH = 200
_YAML = (".yaml", ".yml", ".json")
_ZIP_MAGIC = b"PK\x03\x04"
_EMPTY_ZIP_MAGIC = b"PK\x05\x06"
_GZIP_MAGIC = b"\x1f\x8b"


def read_pipeline(name: str, data: bytes) -> str:
    """The IR's text in an uploaded file; what kind of file it is, its bytes and name tell.

    Raises:
        InvalidArgument: it is no pipeline file, or an archive with no (or no single) one in it.
        TooLarge: it is, or unpacks to, more than MAX_BYTES.
    """
    check_size(len(data))
    if data.startswith((_ZIP_MAGIC, _EMPTY_ZIP_MAGIC)) or name.endswith(".zip"):
        data = _read_zip(data)
    elif data.startswith(_GZIP_MAGIC) or name.endswith((".tar.gz", ".tgz")):
        data = _read_tar(data)
    elif not name.endswith(_YAML):
        raise InvalidArgument(
            f"a pipeline file must end in .yaml, .yml, .json, .zip or .tar.gz, but got {name!r}"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"a pipeline must be UTF-8 text, but {name!r} is not") from error
    _check_shape(text)
    return text


def _check_shape(text: str) -> None:
    """Refuse YAML that harms its reader (``yamlshape`` says how), before one reads it for good."""
    try:
        if _has_aliases(text):
            sizes: dict[int, int] = {}
            total = sum(_measure(node, sizes) for node in yaml.compose_all(text, _LOADER))
            check_size(total)
    except yaml.YAMLError:
        return  # whoever reads it for good tells what is wrong with it
    except RecursionError as error:
        raise InvalidArgument("a pipeline's YAML may not contain itself, but this does") from error


def _has_aliases(text: str) -> bool:
    """Whether there are aliases in a text that is neither too deep nor too large to be read."""
    shape = yamlshape.survey(text, _LOADER, depth=_MAX_DEPTH, values=MAX_VALUES)
    if shape.values > MAX_VALUES:
        raise InvalidArgument(
            f"a pipeline may have {MAX_VALUES} values, but this one has more; it is no "
            "compiled one"
        )
    if shape.depth > _MAX_DEPTH:
        raise InvalidArgument(
            f"a pipeline may be nested {_MAX_DEPTH} levels deep, but this one is deeper"
        )
    return shape.has_aliases


def _measure(node: yaml.Node, sizes: dict[int, int]) -> int:
    """The characters of a node with its aliases written out; each node is looked at once."""
    if id(node) not in sizes:
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        else:
            children = node.value if isinstance(node, yaml.SequenceNode) else []
        own = 1 if children else len(node.value)
        sizes[id(node)] = own + sum(_measure(child, sizes) for child in children)
    return sizes[id(node)]


def check_size(size: int) -> None:
    """Refuse what is larger than we take."""
    if size > MAX_BYTES:
        raise TooLarge(f"a pipeline file may have {MAX_BYTES} bytes, but this one has {size}")


def _choose(names: list[str]) -> str:
    """The pipeline among an archive's files: the only YAML, or the one called pipeline.yaml."""
    found = [name for name in names if name.endswith(_YAML)]
    if len(found) == 1:
        return found[0]
    if "pipeline.yaml" in found:
        return "pipeline.yaml"
    raise InvalidArgument(
        "an archive must hold one YAML file, or one called pipeline.yaml, but this one holds "
        f"{', '.join(sorted(found)[:5]) or 'none'}"
    )


def _read_zip(data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            name = _choose(archive.namelist())
            with archive.open(name) as file:
                return _read_all(file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InvalidArgument(
            f"the file must be a readable zip archive, but it is not: {error}"
        ) from error


def _read_tar(data: bytes) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as archive:
            return _find_in_tar(archive)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise InvalidArgument(
            f"the file must be a readable tar.gz archive, but it is not: {error}"
        ) from error


def _find_in_tar(archive: tarfile.TarFile) -> bytes:
    """Read the archive from front to end once; what it unpacks to is counted on the way."""
    found: dict[str, bytes] = {}
    total = 0
    for member in archive:
        total += member.size
        check_size(total)
        file = archive.extractfile(member) if member.isreg() else None
        if file is not None and member.name.endswith(_YAML):
            found[member.name] = _read_all(file)
    return found[_choose(list(found))]


def _read_all(file: IO[bytes]) -> bytes:
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TooLarge(f"a pipeline may have {MAX_BYTES} bytes, but this one unpacks to more")
    return data
