import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bessemer.pipelines import tree
from bessemer.pipelines.records import Artifact, RunState, Task, TaskKind, TaskState, Values
from bessemer.pipelines.run_catalog import RunCatalog

from .conftest import NOW, Site

BAD = "<script>alert(1)</script>"


def make_task(id_: str, parent: str = "root", **fields: object) -> Task:
    values: dict[str, object] = {
        "name": id_,
        "iteration": -1,
        "kind": TaskKind.CONTAINER,
        "state": TaskState.SUCCEEDED,
        "created_at": NOW,
        "started_at": NOW,
        "finished_at": NOW + timedelta(seconds=2),
        "pod_name": f"pod-{id_}",
        **fields,
    }
    return Task(id=id_, run_id="r1", parent_id=parent, **values)  # type: ignore[arg-type]  # test


async def test_the_second_user_sees_nothing(site: Site) -> None:
    await site.add_run("r1")
    site.objects.items = [{"metadata": {"name": "secret-model", "namespace": "kubeflow"}}]

    overview = await site.page("/", user="stranger")

    assert "run r1" not in overview
    assert "secret-model" not in overview
    for path in ("/runs/r1", "/runs/none", "/runs/r1/tasks/t/log", "/runs/r1/artifacts/a"):
        await site.page(path, 403, user="stranger")


async def test_the_first_page_lists_runs_and_models(site: Site) -> None:
    for number in range(60):
        await site.add_run(f"r{number}", created_at=NOW + timedelta(minutes=number))
    site.objects.items = [
        {
            "metadata": {"name": "model", "namespace": "kubeflow"},
            "status": {
                "url": "http://gateway/serving/kubeflow/model",
                "conditions": [
                    {"type": "Ready", "status": "False", "message": "the model is no model"}
                ],
                "components": {
                    "predictor": {"traffic": [{"revisionName": "model-00002", "percent": 10}]}
                },
            },
        }
    ]

    text = await site.page("/")

    assert text.index("run r59") < text.index("run r58")
    assert "run r9<" not in text
    assert "Runs (60)" in text
    for part in (
        "Succeeded",
        "1 min 15 s",
        "the model is no model",
        "model-00002 10\N{NO-BREAK SPACE}%",
    ):
        assert part in text
    older = text.split('href="/?page_token=')[1].split('"')[0]
    assert "run r9<" in await site.page(f"/?page_token={older}")
    await site.page("/?page_token=x", 400)
    refresh = 'http-equiv="refresh"'
    assert refresh in text  # the model may become ready
    site.objects.items[0]["status"]["conditions"][0]["status"] = "True"
    assert refresh not in await site.page("/")  # nothing is to come
    await site.add_run("busy", state=RunState.RUNNING, created_at=NOW + timedelta(days=1))
    assert refresh in await site.page("/")


async def test_a_runs_page_shows_its_tasks_as_a_tree(site: Site) -> None:
    run = await site.add_run("r1", parameters={"depth": 3, "text": BAD})
    loop = {"kind": TaskKind.LOOP, "pod_name": ""}
    tasks = [
        make_task("root", "", kind=TaskKind.DAG, pod_name=""),
        make_task("loop", **loop),
        make_task("it", "loop", kind=TaskKind.DAG, iteration=0, pod_name=""),
        make_task("train", "it", attempt=1, display_name=BAD),
        make_task(
            "last",
            started_at=NOW + timedelta(seconds=3),
            state=TaskState.FAILED,
            error=f"exit code 137 {BAD}",
        ),
    ]
    await site.history.save(run, tasks)

    text = await site.page("/runs/r1")

    places = [text.index(f">{name}<") for name in ("Tasks", "Parameters")]
    assert places == sorted(places)
    assert text.index("loop") < text.index("it[0]") < text.index("attempt 2")
    assert text.index("attempt 2") < text.index("exit code 137")
    assert "/runs/r1/tasks/train/log" in text
    assert BAD not in text
    assert "&lt;script&gt;" in text
    await site.page("/runs/none", 404)


async def test_a_long_run_is_shown_in_parts(site: Site) -> None:
    run = await site.add_run("r1")
    ids = [f"a{number:04d}" for number in range(150)]
    tasks = [make_task("root", "", kind=TaskKind.DAG, pod_name="")]
    tasks += [
        make_task(f"t{number:04d}", started_at=NOW + timedelta(seconds=number))
        for number in range(1200)
    ]
    tasks[1] = replace(tasks[1], outputs=Values({}, {"out": ids}))
    artifacts = [Artifact(id_, id_, "system.Dataset", "1", f"/{id_}") for id_ in ids]
    await site.history.save(run, tasks, artifacts)

    first = await site.page("/runs/r1")
    last = await site.page("/runs/r1?first=1000")

    assert first.count('/log"') == 500
    assert "Tasks 1 to 500 of 1200" in first
    assert 'href="?first=500"' in first
    assert "Earlier" not in first
    assert [f">t{number:04d}<" in last for number in (999, 1000, 1199)] == [False, True, True]
    assert 'href="?first=500"' in last
    assert "Later" not in last
    assert (">a0099 " in first, ">a0100 " in first) == (True, False)
    assert "50 more" in first
    for wrong in ("x", "-1", "9" * 5000):
        assert "first must be" in await site.page(f"/runs/r1?first={wrong}", 400)


async def test_why_a_task_did_not_end_well(site: Site) -> None:
    run = await site.add_run("r1", state=RunState.FAILED)
    skip = {"state": TaskState.SKIPPED, "error": "its condition is false"}
    trace = "exit code 1; its log ends:\nTraceback\nValueError: no rows"
    fail = {"state": TaskState.FAILED, "error": trace}
    group = {"kind": TaskKind.DAG, "pod_name": ""}
    tasks = [
        make_task("group", "", **group, **{**fail, "error": f"task 'bad' failed: {trace}"}),
        make_task("bad", "group", **fail),
        make_task("branch", "", **group, **skip),
    ]
    await site.history.save(run, tasks)

    text = await site.page("/runs/r1")

    assert text.count("ValueError: no rows") == 1  # told by the task that failed, not by its group
    assert "task &#x27;bad&#x27; failed: exit code 1" in text
    assert '<div class="soft">its condition is false' in text  # no error


async def test_an_artifact_names_its_iteration(site: Site) -> None:
    run = await site.add_run("r1")
    tasks = [
        make_task("it", "", kind=TaskKind.DAG, iteration=2, pod_name=""),
        make_task("train", "it", outputs=Values({}, {"model": ["a1"]})),
    ]
    await site.history.save(run, tasks, [Artifact("a1", "model", "system.Model", "1", "/m")])

    assert "from it[2] / train" in await site.page("/runs/r1")


async def test_metrics_are_drawn(site: Site) -> None:
    run = await site.add_run("r1")
    curve = [
        {"confidenceThreshold": 1, "falsePositiveRate": 0.0, "recall": 0.5},
        {"confidenceThreshold": 0, "falsePositiveRate": 0.5, "recall": 1.0},
    ]
    matrix = {
        "annotationSpecs": [{"displayName": "cat"}, {"displayName": BAD}],
        "rows": [{"row": [7, 1]}, {"row": [0, 9]}],
    }
    metadata = {"confidenceMetrics": curve, "confusionMatrix": matrix}
    artifacts = [
        Artifact("a1", "eval", "system.ClassificationMetrics", "1", "/x", metadata),
        Artifact("a2", "scores", "system.Metrics", "1", "/x", {"accuracy": 0.97}),
        Artifact(
            "a3",
            "odd",
            "system.ClassificationMetrics",
            "1",
            "/x",
            {"confidenceMetrics": [None, {"recall": "x"}], "confusionMatrix": {"rows": 7}},
        ),
    ]
    outputs = Values({}, {"out": ["a1", "a2", "a3"]})
    await site.history.save(run, [make_task("t", "", outputs=outputs)], artifacts)

    text = await site.page("/runs/r1")

    assert text.count('aria-label="ROC curve"') == 1
    assert text.count("<polyline") == text.count("</polyline>") == 2
    assert "ROC curve, area 0.8750" in text
    assert text.count("Confusion matrix") == 1
    assert "0.97" in text
    assert BAD not in text


async def test_a_report_is_shown_in_a_sandbox(site: Site) -> None:
    file = site.volumes / "kubeflow" / "pipeline-artifacts" / "report.html"
    await asyncio.to_thread(file.write_text, f"<h1>é</h1>{BAD}")
    await add_reports(site, {"a1": str(file)})

    page = await site.page("/runs/r1")
    answer = await site.get("/runs/r1/artifacts/a1")

    assert 'src="/runs/r1/artifacts/a1" sandbox="allow-scripts"' in page
    assert answer.text == f"<h1>é</h1>{BAD}"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts;")


async def test_a_report_is_never_another_file(site: Site) -> None:
    secret = site.volumes.parent / "admin-token"
    others = site.volumes / "team-b" / "report.html"
    volume = site.volumes / "kubeflow" / "pipeline-artifacts"

    def lay_out() -> None:
        secret.write_text("sesame")
        others.parent.mkdir()
        others.write_text("sesame")
        (volume / "link.html").symlink_to(secret)
        (volume / "folder").symlink_to(secret.parent)

    await asyncio.to_thread(lay_out)
    uris = {
        "plain": str(secret),
        "other": str(others),
        "link": str(volume / "link.html"),
        "through": str(volume / "folder" / "admin-token"),
        "dots": str(volume / ".." / ".." / ".." / "admin-token"),
        "missing": str(volume / "none.html"),
        "folder": str(volume),
        "bucket": "s3://bucket/report.html",
        "nul": "/x\0y",
    }
    await add_reports(site, uris)

    for id_ in uris:
        assert "sesame" not in await site.page(f"/runs/r1/artifacts/{id_}", 404)


async def test_nobody_learns_what_is_elsewhere(site: Site) -> None:
    """The answer is the same for what exists and what does not, named or led to by a link."""
    volume = site.volumes / "kubeflow" / "pipeline-artifacts"
    there, absent = site.volumes.parent / "there", site.volumes.parent / "absent"

    def lay_out() -> None:
        there.mkdir()
        (there / "file").touch()
        for name, target in (("a", there), ("b", absent)):
            (volume / name).symlink_to(target)

    await asyncio.to_thread(lay_out)
    pairs = [
        (str(there / "file"), str(absent / "file")),
        (str(volume / "a"), str(volume / "b")),
        (str(volume / "a" / "file"), str(volume / "b" / "file")),
    ]
    await add_reports(site, {str(n): uri for n, uri in enumerate(sum(pairs, ()))})

    for number, (one, other) in enumerate(pairs):
        texts = [
            (await site.page(f"/runs/r1/artifacts/{2 * number + place}", 404)).replace(uri, "?")
            for place, uri in enumerate((one, other))
        ]
        assert texts[0] == texts[1]


async def add_reports(site: Site, uris: dict[str, str]) -> None:
    run = await site.add_run("r1")
    artifacts = [Artifact(id_, id_, "system.HTML", "1", uri) for id_, uri in uris.items()]
    task = make_task("t", "", outputs=Values({}, {"report": list(uris)}))
    await site.history.save(run, [task], artifacts)


@pytest.mark.parametrize(
    ("text", "shown"), [(b"a <b> \xff", "a &lt;b&gt; \ufffd"), (b"", "It said nothing")]
)
async def test_a_log(site: Site, text: bytes, shown: str) -> None:
    run = await site.add_run("r1")
    await site.history.save(run, [make_task("t", "")])
    site.logs.texts["t"] = text

    assert shown in await site.page("/runs/r1/tasks/t/log")
    await site.page("/runs/r1/tasks/none/log", 404)


async def test_a_huge_log_is_shown_by_its_end(site: Site) -> None:
    run = await site.add_run("r1")
    await site.history.save(run, [make_task("t", "")])
    site.logs.texts["t"] = b"first " + b"x" * (8 << 20) + b" last"

    text = await site.page("/runs/r1/tasks/t/log")

    assert "first x" not in text
    assert "x last" in text
    assert "the end of it" in text
    assert len(text) < 2 << 20


async def test_archived_runs_are_not_listed(site: Site) -> None:
    await site.add_run("r1")
    await site.add_run("r2")

    await RunCatalog(site.history).archive_run("r1")

    text = await site.page("/")
    assert "Runs (1)" in text
    assert "run r1" not in text
    assert "run r1" in await site.page("/runs/r1")


async def test_each_attempt_has_its_log(site: Site) -> None:
    run = await site.add_run("r1", state=RunState.FAILED)
    train = tree.task_id("r1", "loop/1/train")
    it, loop, root = (tree.task_id("r1", path) for path in ("loop/1", "loop", ""))
    group = {"kind": TaskKind.DAG, "pod_name": ""}
    tasks = [
        make_task(root, "", **{**group, "name": "root"}),
        make_task(loop, root, **{**group, "name": "loop", "kind": TaskKind.LOOP}),
        make_task(it, loop, **{**group, "name": "loop", "iteration": 1}),
        make_task(
            train, it, name="train", attempt=2, pod_name="last", state=TaskState.FAILED,
            error="exit code 1",
        ),
    ]  # fmt: skip
    await site.history.save(run, tasks)
    first = tree.pod_name("r1", "loop/1/train", "train", 0)
    site.logs.texts.update({first: b"out of luck", "last": b"out of time"})
    path = f"/runs/r1/tasks/{train}/log"

    assert "out of time" in await site.page(path)
    assert "out of luck" in await site.page(f"{path}?attempt=1")
    second = await site.page(f"{path}?attempt=2")
    assert "no longer kept: it was pruned" in second
    assert '<a href="?attempt=1">attempt 1</a>' in second
    assert "<b>attempt 2</b>" in second
    whole = await site.get(f"{path}?attempt=1&download=1")
    assert whole.text == "out of luck"
    assert whole.headers["content-disposition"] == f'attachment; filename="{first}.1.log"'
    for wrong in ("0", "4", "x", "9" * 5000):
        assert "attempt must be" in await site.page(f"{path}?attempt={wrong}", 400)


async def test_what_waits_says_why(site: Site) -> None:
    run = await site.add_run("r1", state=RunState.RUNNING, finished_at=None)
    names = ("installs", "unplaced", "starts", "runs")
    going = {"state": TaskState.RUNNING, "finished_at": None}
    await site.history.save(run, [make_task(name, "", **going) for name in names])
    waiting = {"reason": "ContainerCreating", "message": "installing polars==1.2"}
    unplaced = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }
    statuses = (
        {
            "phase": "Pending",
            "containerStatuses": [{"name": "main", "state": {"waiting": waiting}}],
        },
        {"phase": "Pending", "conditions": [unplaced]},
        {
            "phase": "Pending",
            "containerStatuses": [
                {"name": "main", "state": {"waiting": {"reason": "ContainerCreating"}}}
            ],
        },
        {"phase": "Running", "containerStatuses": [{"name": "main", "state": {"running": {}}}]},
    )
    site.objects.pods = [
        {
            "metadata": {
                "name": f"pod-{name}",
                "labels": {"bessemer.dev/task-id": name, "pipeline/runid": "r1"},
            },
            "status": status,
        }
        for name, status in zip(names, statuses, strict=True)
    ]

    text = await site.page("/runs/r1")

    assert text.count(">Waiting<") == 3
    assert text.count(">Running<") == 2  # the run, for one task does
    for why in ("installing polars==1.2", "cannot be scheduled: 0/1 nodes", "ContainerCreating"):
        assert f'<div class="waits">{why}' in text
    assert "Not started yet: installing polars" in await site.page("/runs/r1/tasks/installs/log")
    assert "Not started yet." in await site.page("/runs/r1/tasks/runs/log")
    site.objects.pods = site.objects.pods[:1]  # nothing of the run runs
    for path in ("/", "/runs/r1"):
        text = await site.page(path)
        assert ">Waiting<" in text
        assert '<div class="waits">installing polars==1.2</div>' in text


async def add_file(site: Site, name: str, content: bytes, type_: str = "system.Dataset") -> None:
    file = site.volumes / "kubeflow" / "pipeline-artifacts" / name
    await asyncio.to_thread(file.write_bytes, content)
    run = await site.add_run("r1")
    task = make_task("t", "", outputs=Values({}, {"out": ["a1"]}))
    await site.history.save(run, [task], [Artifact("a1", "out", type_, "1", str(file))])


async def test_an_artifact_is_downloaded_whole_or_in_part(site: Site) -> None:
    content = bytes(range(256)) * 4096
    await add_file(site, 'Größe 1".csv', content)
    path = "/runs/r1/artifacts/a1/file"

    assert f'<a href="{path}" download="">' in await site.page("/runs/r1")
    answer = await site.get(path)
    assert answer.content == content
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"Gr__e 1_.csv\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%201%22.csv"
    )
    assert answer.headers["content-security-policy"].startswith("sandbox;")
    for asked, span in (("bytes=1-3", (1, 4)), ("bytes=-5", (-5, None)), ("bytes=9-", (9, None))):
        part = await site.get(path, Range=asked)
        assert part.status_code == 206
        assert part.content == content[slice(*span)]
    whole = f"/{len(content)}"
    assert part.headers["content-range"] == f"bytes 9-{len(content) - 1}{whole}"
    past = await site.get(path, Range=f"bytes={len(content)}-")
    assert (past.status_code, past.headers["content-range"]) == (416, f"bytes *{whole}")
    for odd in ("bytes=5-1", "bytes=0-1,4-5", "lines=1-2", "bytes=-"):
        assert (await site.get(path, Range=odd)).content == content
    await site.page(path, 403, user="stranger")
    await site.page("/runs/r1/artifacts/none/file", 404)


async def test_markdown_is_rendered_and_its_html_is_text(site: Site) -> None:
    text = f"# Report\n\n|a|b|\n|-|-|\n|1|2|\n\n{BAD} [x](javascript:alert(1)) [y](https://y.org)"
    await add_file(site, "report.md", text.encode(), "system.Markdown")

    answer = await site.get("/runs/r1/artifacts/a1")

    assert "<h1>Report</h1>" in answer.text
    assert "<td>1</td>" in answer.text
    assert BAD not in answer.text
    assert 'href="javascript' not in answer.text
    assert '<a href="https://y.org">' in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox ")
    assert "allow-scripts" not in policy
    assert "allow-same-origin" not in policy
