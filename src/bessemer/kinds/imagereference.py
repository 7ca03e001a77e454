"""What an image's name may look like, and the words in which the kubelet refuses one. Pure.

Source: distribution/reference (regexp.go, normalize.go), kubelet images/image_manager.go.
"""

from __future__ import annotations

import re

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PATH_PART}(?:/{_PATH_PART})*"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REMAINDER = re.compile(rf"({_PATH})(?::{_TAG})?(?:@{_DIGEST})?", re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
# Of a repository's name, the domain included.
_MOST_CHARACTERS = 255


def refusal(reference: str) -> str:
    """Why the text names no image, as the kubelet's InvalidImageName says it; "" when it does."""
    why = _fault(reference)
    if not why:
        return ""
    return (
        f'Failed to apply default image tag "{reference}": couldn\'t parse image name '
        f'"{reference}": {why}'
    )


def _fault(reference: str) -> str:
    if _IDENTIFIER.fullmatch(reference):
        return f"invalid repository name ({reference}), cannot specify 64-byte hexadecimal strings"
    domain, remainder = _split(reference)
    repository = remainder.partition(":")[0]
    if repository.lower() != repository:
        return f"invalid reference format: repository name ({repository}) must be lowercase"
    match = _REMAINDER.fullmatch(remainder)
    if match is None or not re.fullmatch(_DOMAIN, domain, re.ASCII):
        return "invalid reference format"
    if len(f"{domain}/{match[1]}") > _MOST_CHARACTERS:
        return f"repository name must not be more than {_MOST_CHARACTERS} characters"
    return ""


def split(reference: str) -> tuple[str, str]:
    """Repository and tag ("latest" when absent) of what ``refusal`` takes; a digest is no tag."""
    without_digest, _, digest = reference.partition("@")
    head, slash, last = without_digest.rpartition("/")
    last, _, tag = last.partition(":")
    return head + slash + last, tag or ("" if digest else "latest")


def with_tag(reference: str, tag: str) -> str:
    """The reference with another tag. Source: kserve isvcutils.UpdateImageTag."""
    # The tag alone: what follows an earlier colon is a registry's port.
    return re.sub(r"(:[\w.-]*)?$", f":{tag}", reference, count=1)


# Registries that have Docker Hub's own images, and below which names.
_LIBRARIES = {
    "docker.io": "library/",
    "index.docker.io": "library/",
    "registry-1.docker.io": "library/",
    "registry.hub.docker.com": "library/",
    "mirror.gcr.io": "library/",
    "public.ecr.aws": "docker/library/",
    "mcr.microsoft.com": "mirror/docker/library/",
}


def library_name(repository: str) -> str:
    """What Docker Hub's library calls the image: ``python``; "" for one that is not of it.

    ``repository`` has neither tag nor digest. Hub's own images are told by one name wherever they
    are pulled from.
    """
    domain, path = _split(repository)
    prefix = _LIBRARIES.get(domain)
    if prefix is None:
        return ""
    if domain.endswith(("docker.io", "docker.com")) and "/" not in path:
        return path
    name = path.removeprefix(prefix)
    return name if path.startswith(prefix) and "/" not in name else ""


def _split(reference: str) -> tuple[str, str]:
    """The registry and the rest.

    What stands before the first slash is a registry if it looks like no path: with a dot, a port,
    capitals, or localhost.
    """
    head, slash, rest = reference.partition("/")
    is_domain = "." in head or ":" in head or head == "localhost" or head.lower() != head
    if slash and is_domain:
        return head, rest
    # One word alone lies in Docker Hub's library.
    return "docker.io", reference if slash else f"library/{reference}"
