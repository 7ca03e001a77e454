"""What URIs mean in each place, by text alone, and what a pod mounts for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from obstore.store import MemoryStore

from bessemer.artifacts.bucket import BucketStore
from bessemer.artifacts.claim import CLAIM, ClaimStore
from bessemer.artifacts.store import ArtifactStore, ClaimPath, Elsewhere, Foreign
from bessemer.artifacts.volume import VolumeStore
from bessemer.base.clock import SystemClock

CLAIMS = ClaimStore(None, SystemClock(), Path("/volumes"))  # type: ignore[arg-type]  # asks no API
VOLUME = VolumeStore(Path("/data"))
BUCKET = BucketStore(MemoryStore(), "s3://kept/artifacts")
HOME = f"/volumes/team/{CLAIM}"


@pytest.mark.parametrize(
    ("store", "uri", "place"),
    [
        (CLAIMS, HOME, HOME),
        (CLAIMS, f"{HOME}//x/./y/", f"{HOME}/x/y"),
        (CLAIMS, f"file://{HOME}/x", f"{HOME}/x"),
        (CLAIMS, "minio://bucket/key", f"{HOME}/bucket/key"),
        (VOLUME, "minio://bucket//key/", "minio://bucket/key"),
        (BUCKET, "s3://kept/artifacts/team/x/", "s3://kept/artifacts/team/x"),
        (BUCKET, "minio://bucket/key", "s3://kept/artifacts/team/bucket/key"),
    ],
)
def test_a_uri_has_one_spelling(store: ArtifactStore, uri: str, place: str) -> None:
    assert store.place("team", uri) == place
    assert store.place("team", place) == place


@pytest.mark.parametrize(
    ("store", "uri"),
    [
        (CLAIMS, "/etc/passwd"), (CLAIMS, f"{HOME}-more/x"), (CLAIMS, f"{HOME}/../other"),
        (CLAIMS, f"/volumes/other/{CLAIM}/x"), (CLAIMS, f"/volumes/team/{CLAIM}2"),
        (VOLUME, "minio://bucket/../x"), (BUCKET, "s3://kept/artifacts/other/x"),
        (BUCKET, "s3://kept/artifacts/team-2/x"), (BUCKET, "s3://kept/artifacts/team/../other"),
    ],
)  # fmt: skip
def test_what_is_another_namespaces_is_refused(store: ArtifactStore, uri: str) -> None:
    with pytest.raises(Elsewhere) as refused:
        store.place("team", uri)
    assert not isinstance(refused.value, Foreign)


def test_a_claim_is_mounted_at_its_own_path_and_written_in_one_folder() -> None:
    attached = CLAIMS.attach("team", f"{HOME}/p/run/step")

    assert attached.volumes == [{"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}}]
    assert attached.mounts == [
        {"name": CLAIM, "mountPath": HOME, "readOnly": True},
        {"name": CLAIM, "mountPath": f"{HOME}/p/run/step", "subPath": "p/run/step"},
    ]
    assert attached.path(f"{HOME}/x") == f"{HOME}/x"


def test_what_pods_do_not_mount_is_where_the_sdk_looks_for_it() -> None:
    assert VOLUME.attach("team", "minio://b/run").path("minio://b/run/x") == "/minio/b/run/x"
    attached = BUCKET.attach("team", "s3://kept/artifacts/team/run")
    assert attached.path("s3://kept/artifacts/team/run/x") == "/s3/kept/artifacts/team/run/x"
    assert attached.path("https://x/y") == "https://x/y"


def test_claims_hold_what_lies_in_them() -> None:
    assert CLAIMS.find_claim("team", "/volumes/team/data/m") == ClaimPath("data", "m")
    assert CLAIMS.find_claim("team", "/volumes/other/data/m") is None
    assert CLAIMS.find_claim("team", "/volumes/team") is None
    assert VOLUME.find_claim("team", "minio://b/x") is None
    assert BUCKET.find_claim("team", "s3://kept/artifacts/team/x") is None


@pytest.mark.parametrize("name", ["..", "a/b", "", "A" * 64, "a\0"])
async def test_no_folder_is_made_for_what_is_no_namespace(name: str) -> None:
    with pytest.raises(Elsewhere):
        await VOLUME.find(name, "minio://b/x")


@pytest.mark.parametrize("base", ["", "s3://", "s3://b/", "az://b", "/b", "b"])
def test_a_base_that_the_sdk_does_not_know_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="the base of artifacts' URIs"):
        BucketStore(MemoryStore(), base)
