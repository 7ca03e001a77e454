import asyncio
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from .conftest import BASE, Face, make_ir

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "kfp-invalid"
TEXT = yaml.safe_dump(make_ir()).encode()


def named(value: str | bytes) -> str:
    """In a test's name: archives hold the time, and all workers must name a test alike."""
    return value if isinstance(value, str) else "data"


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("adder.yaml", TEXT),
        ("adder.yml", TEXT),
        ("adder.json", b'\xef\xbb\xbf{"x": 1}'.replace(b'{"x": 1}', TEXT)),
        ("adder.zip", zipped(**{"pipeline.yaml": TEXT, "notes.txt": b"x"})),
        ("adder.zip", zipped(**{"pipeline.yaml": TEXT, "other.yaml": b"x"})),
        ("adder.tar.gz", tarred(**{"anything.yaml": TEXT})),
        ("adder.tgz", tarred(**{"../../outside.yaml": TEXT})),
    ],
    ids=named,
)
async def test_an_upload_makes_a_pipeline_and_its_first_version(
    face: Face, name: str, data: bytes
) -> None:
    pipeline = await face.upload(
        "/pipelines/upload", name, data, name="my adder", description="d", tags='{"team": "a"}'
    )

    assert pipeline == await face.call("GET", f"/pipelines/{pipeline['pipeline_id']}")
    assert pipeline["tags"] == {"team": "a"}
    assert (pipeline["name"], pipeline["display_name"]) == ("my adder", "my adder")
    versions = await face.call("GET", f"/pipelines/{pipeline['pipeline_id']}/versions")
    assert versions["total_size"] == 1
    version = versions["pipeline_versions"][0]
    assert version["pipeline_spec"] == make_ir()
    assert version["name"] == "my adder"
    assert version["description"] == "d"
    assert "tags" not in version  # the query's are the pipeline's alone
    assert pipeline == await face.call("GET", "/pipelines/names/my adder")


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()) if CORPUS.is_dir() else [])
@pytest.mark.shared
async def test_what_is_no_pipeline_is_refused_and_nothing_stored(face: Face, path: Path) -> None:
    data = await asyncio.to_thread(path.read_bytes)

    error = await face.upload("/pipelines/upload", path.name, data, status=400, name="x")

    assert error["error_message"]
    assert set(error) == {"error_message", "error_details"}
    assert await face.call("GET", "/pipelines") == {}


@pytest.mark.parametrize(
    ("name", "data", "word"),
    [
        ("x.zip", zipped(**{"a.yaml": TEXT, "b.yaml": TEXT}), "one YAML file"),
        ("x.tar.gz", tarred(**{"a.txt": b""}), "one YAML file"),
        ("x.tar.gz", b"\x1f\x8bgarbage", "tar.gz"),
        ("x.yaml", b"\xff\xfe\x00", "UTF-8"),
        ("x.yaml", b"a: [", "YAML"),
        ("x.exe", TEXT, ".yaml"),
        ("x.yaml", yaml.safe_dump(make_ir(schemaVersion="9.9")).encode(), "9.9"),
    ],
    ids=named,
)
async def test_a_bad_file_is_refused(face: Face, name: str, data: bytes, word: str) -> None:
    error = await face.upload("/pipelines/upload", name, data, status=400, name="x")

    assert word in error["error_message"]
    assert await face.call("GET", "/pipelines") == {}


async def test_bombs_are_refused(face: Face) -> None:
    """Small files that unpack to more than we take, of one file or of many."""
    big = bytes(40 << 20)
    for name, data in [
        ("x.zip", zipped(**{"pipeline.yaml": big})),
        ("x.tar.gz", tarred(**{"pipeline.yaml": big})),
        ("x.tar.gz", tarred(**{"a.bin": big, "pipeline.yaml": TEXT})),
    ]:
        assert len(data) < 1 << 20
        error = await face.upload("/pipelines/upload", name, data, status=413, name="x")
        assert "8388608 bytes" in error["error_message"]
    await face.upload("/pipelines/upload", "x.yaml", big, status=413, name="x")
    assert await face.call("GET", "/pipelines") == {}


async def test_yaml_bombs_are_refused(face: Face) -> None:
    lines = ["a0: &a0 x"] + [
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)
    ]
    bomb = TEXT + "\n".join(lines).encode()
    error = await face.upload("/pipelines/upload", "x.yaml", bomb, status=413, name="x")
    assert "8388608 bytes" in error["error_message"]
    for data in (b"a: &a [*a]", b"[" * 100_000, b"{a: " * 100_000, b"- " * 100_000, b"x: *y"):
        await face.upload("/pipelines/upload", "x.yaml", data, status=400, name="x")


async def test_stars_in_programs_are_no_aliases(face: Face) -> None:
    ir = make_ir()
    container = ir["deploymentSpec"]["executors"]["exec-add"]["container"]
    container["args"] = ["def f(*args, **kwargs):\n  *a, b = args\n  return [*args]"]

    pipeline = await face.upload(
        "/pipelines/upload", "x.yaml", yaml.safe_dump(ir).encode(), name="x"
    )

    assert pipeline["name"] == "x"


async def test_an_upload_without_a_file_is_refused(face: Face) -> None:
    for files in (None, {"other": ("x.yaml", TEXT)}):
        answer = await face.http.post(f"{BASE}/pipelines/upload", files=files)
        assert answer.status_code == 400
        assert "uploadfile" in answer.json()["error_message"]


async def test_names_are_unique(face: Face) -> None:
    pipeline = await face.upload("/pipelines/upload", "x.yaml", TEXT, name="one")
    id_ = pipeline["pipeline_id"]

    taken = await face.upload("/pipelines/upload", "x.yaml", TEXT, status=409, name="one")
    assert "'one' already exists" in taken["error_message"]
    assert (await face.call("POST", "/pipelines", {"name": "one"}, status=409))["code"] == 6
    query = {"pipelineid": id_, "name": "one"}
    await face.upload("/pipelines/upload_version", "x.yaml", TEXT, status=409, **query)
    await face.call("POST", "/experiments", {"display_name": "e"})
    assert (await face.call("POST", "/experiments", {"displayName": "e"}, status=409))["code"] == 6
    assert (await face.call("GET", f"/pipelines/{id_}/versions"))["total_size"] == 1


async def test_versions_run_and_the_newest_is_taken_without_an_id(face: Face) -> None:
    pipeline = await face.upload("/pipelines/upload", "x.yaml", TEXT, name="one")
    id_ = pipeline["pipeline_id"]
    second = yaml.safe_dump(make_ir("second")).encode()
    version = await face.upload(
        "/pipelines/upload_version", "x.yaml", second, pipelineid=id_, name="v2"
    )

    body = {
        "display_name": "r",
        "pipeline_version_reference": {"pipeline_id": id_},
        "runtime_config": {"parameters": {"a": 1}},
    }
    run = await face.call("POST", "/runs", body)

    assert run["pipeline_version_reference"] == {
        "pipeline_id": id_,
        "pipeline_version_id": version["pipeline_version_id"],
    }
    assert "pipeline_spec" not in run
    assert (await face.runs.get_run(run["run_id"])).spec["pipelineInfo"]["name"] == "second"
    body["pipeline_version_reference"] = {"pipeline_id": id_, "pipeline_version_id": "none"}
    await face.call("POST", "/runs", body, status=404)


async def test_a_versions_id_alone_names_it(face: Face) -> None:
    pipeline = await face.upload("/pipelines/upload", "x.yaml", TEXT, name="one")
    id_ = pipeline["pipeline_id"]
    version = (await face.call("GET", f"/pipelines/{id_}/versions"))["pipeline_versions"][0]
    named = {"pipeline_version_id": version["pipeline_version_id"]}
    body = {"display_name": "r", "runtime_config": {"parameters": {"a": 1}}}

    for source in (named, {"pipeline_version_reference": named}):
        run = await face.call("POST", "/runs", {**body, **source})
        assert run["pipeline_version_reference"] == {"pipeline_id": id_, **named}
    error = await face.call("POST", "/runs", {**body, "pipeline_version_id": "none"}, status=404)
    assert error["message"] == "pipeline version none not found"
    nothing = {"pipeline_version_reference": {"pipeline_id": ""}}
    assert (
        "exactly one"
        in (await face.call("POST", "/runs", {**body, **nothing}, status=400))["message"]
    )


async def test_a_yaml_number_beyond_64_bits_is_the_nearest_float(face: Face) -> None:
    ir = make_ir()
    input_ = {"parameterType": "STRUCT", "isOptional": True, "defaultValue": {"n": 10**30}}
    ir["root"]["inputDefinitions"]["parameters"]["c"] = input_

    pipeline = await face.upload("/pipelines/upload", "x.yaml", yaml.safe_dump(ir).encode())

    path = f"/pipelines/{pipeline['pipeline_id']}/versions"
    spec = (await face.call("GET", path))["pipeline_versions"][0]["pipeline_spec"]
    assert spec["root"]["inputDefinitions"]["parameters"]["c"]["defaultValue"] == {"n": 1e30}


async def test_a_pipeline_with_versions_goes_only_by_cascade(face: Face) -> None:
    pipeline = await face.upload("/pipelines/upload", "x.yaml", TEXT, name="one")
    path = f"/pipelines/{pipeline['pipeline_id']}"
    version = (await face.call("GET", f"{path}/versions"))["pipeline_versions"][0]
    run = await face.call(
        "POST",
        "/runs",
        {
            "display_name": "r",
            "pipeline_version_reference": {"pipeline_id": pipeline["pipeline_id"]},
            "runtime_config": {"parameters": {"a": 1}},
        },
    )

    error = await face.call("DELETE", path, status=400)
    assert "cascade" in error["message"]
    await face.call("DELETE", path, cascade="True")

    await face.call("GET", path, status=404)
    await face.call("GET", f"{path}/versions/{version['pipeline_version_id']}", status=404)
    # A run keeps the IR it was made from.
    assert (await face.runs.get_run(run["run_id"])).spec == make_ir()


async def test_display_names_and_tags_change(face: Face) -> None:
    pipeline = await face.upload("/pipelines/upload", "x.yaml", TEXT, name="one")
    path = f"/pipelines/{pipeline['pipeline_id']}"

    await face.call("PATCH", path, {**pipeline, "display_name": "Uno", "tags": {"k": "v"}})
    found = await face.call("GET", path)
    version = (await face.call("GET", f"{path}/versions"))["pipeline_versions"][0]
    one = f"{path}/versions/{version['pipeline_version_id']}"
    await face.call("PATCH", one, {"display_name": "first"})

    assert (found["name"], found["display_name"], found["tags"]) == ("one", "Uno", {"k": "v"})
    assert (await face.call("GET", one))["display_name"] == "first"
    tagged = '{"predicates":[{"key":"tags.k","operation":"EQUALS","string_value":"%s"}]}'
    assert (await face.call("GET", "/pipelines", filter=tagged % "v"))["total_size"] == 1
    assert await face.call("GET", "/pipelines", filter=tagged % "w") == {}
    await face.call("PATCH", f"{path}/versions/none", {"tags": {"k": "v"}}, status=404)
    for tags in ({"a.b": "x"}, {"a": "x" * 64}, {f"k{n}": "" for n in range(21)}):
        assert (await face.call("PATCH", path, {"tags": tags}, status=400))["code"] == 3


async def test_pipelines_by_json(face: Face) -> None:
    body = {
        "pipeline": {"display_name": "one"},
        "pipeline_version": {"name": "v1", "pipeline_spec": make_ir()},
    }
    pipeline = await face.call("POST", "/pipelines/create", body)
    path = f"/pipelines/{pipeline['pipeline_id']}/versions"

    made = await face.call("POST", path, {"name": "v2", "pipeline_spec": make_ir()})

    assert (await face.call("GET", path))["total_size"] == 2
    await face.call("DELETE", f"{path}/{made['pipeline_version_id']}")
    assert (await face.call("GET", path))["total_size"] == 1
    url = {"package_url": {"pipeline_url": "http://example.com/p.yaml"}}
    assert (await face.call("POST", path, url, status=501))["code"] == 12
    assert (await face.call("POST", path, {}, status=400))["code"] == 3


async def test_experiments(face: Face) -> None:
    made = [
        await face.call("POST", "/experiments", {"display_name": f"e{n}", "description": "d"})
        for n in range(3)
    ]

    page = await face.call("GET", "/experiments", page_size="2", sort_by="created_at desc")

    assert page["experiments"] == [made[2], made[1]]
    assert page["total_size"] == 3
    token = page["next_page_token"]
    last = await face.call("GET", "/experiments", page_token=token, sort_by="created_at desc")
    assert last["experiments"] == [made[0]]
    assert "next_page_token" not in last
    await face.call("DELETE", f"/experiments/{made[0]['experiment_id']}")
    await face.call("GET", f"/experiments/{made[0]['experiment_id']}", status=404)
    assert (await face.call("POST", "/experiments", {}, status=400))["code"] == 3
