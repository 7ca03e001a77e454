"""Scenarios of objects: verbs, patches, selectors, owners, paging. See kubernetes_scenarios."""

import tempfile

from kubernetes import client, dynamic, watch
from kubernetes_scenarios import (
    WAIT_SECONDS,
    apps,
    core,
    custom,
    make_pod,
    play,
    refused,
    until,
    until_ended,
    until_event,
    until_gone,
    until_pod,
)

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
SLEEP = ["sleep", "600"]


def walk(namespace, manifest, has_status):
    """Every verb on one kind, by the client's generic face."""
    walker = Walker(namespace, manifest)
    one, two = f"{namespace}-one", f"{namespace}-two"
    start = walker.list().metadata.resourceVersion
    made = walker.make(one)
    told = {"read": walker.read(one)["metadata"]["uid"] == made["metadata"]["uid"]}
    told["again"] = refused(walker.make, one)["reason"]
    told["listed"] = [found.metadata.name for found in walker.list().items]
    walker.update(one)
    stale = {**made, "metadata": {**made["metadata"], "labels": {"stale": "yes"}}}
    told["stale"] = refused(walker.resource.replace, body=stale, **walker.where)["reason"]
    told["patches"] = walker.patch_all(one)
    if has_status:
        told["status"] = walker.write_status(one)
    walker.make(two)
    walker.resource.delete(name=one, **walker.where)
    chosen = {"label_selector": walker.selector}
    if refusal := refused(walker.resource.delete, **chosen, **walker.where):
        told["deletecollection"] = refusal["code"]
        walker.resource.delete(name=two, **walker.where)
    told["events"] = walker.follow(start, {one, two})
    told["after"] = [found.metadata.name for found in walker.list().items]
    told["absent"] = refused(walker.read, one)["reason"]
    return told


def applied(namespace, manifest):
    """Server-side apply of one kind: made, applied again, disputed, forced, given up."""
    walker = Walker(namespace, manifest)
    name = f"{namespace}-applied"
    body = fill(manifest, walker.where.get("namespace", ""))

    def state(manager, labels, *, force=False):
        rest = body if manager == "alice" else {}
        head = {key: manifest[key] for key in ("apiVersion", "kind")}
        stated = {**rest, **head, "metadata": {"name": name, "labels": labels}}
        answer = walker.resource.server_side_apply(
            body=stated, name=name, field_manager=manager, force_conflicts=force, **walker.where
        )
        return answer.to_dict()["metadata"]

    made = state("alice", {**walker.labels, "x": "1"})
    told = {"by": [(entry["manager"], entry["operation"]) for entry in made["managedFields"]][:1]}
    again = state("alice", {**walker.labels, "x": "1"})
    told["again"] = again["uid"] == made["uid"] and owned(again) == owned(made)
    told["conflict"] = refused(state, "bob", {"x": "2"})["message"]
    told["forced"] = state("bob", {"x": "2"}, force=True)["labels"]["x"]
    told["given up"] = sorted(state("bob", {})["labels"])
    walker.resource.delete(name=name, **walker.where)
    return told


def owned(metadata):
    """What alice owns, without when."""
    return [
        entry["fieldsV1"] for entry in metadata["managedFields"] if entry["manager"] == "alice"
    ]


class Walker:
    """One kind as the dynamic client has it, and the objects that the walk makes."""

    def __init__(self, namespace, manifest):
        self.manifest = manifest
        self.resource = kinds().get(api_version=manifest["apiVersion"], kind=manifest["kind"])
        self.where = {"namespace": namespace} if self.resource.namespaced else {}
        self.selector = f"walk={namespace}"
        self.labels = {"walk": namespace}

    def make(self, name):
        metadata = {"name": name, "labels": self.labels}
        body = fill({**self.manifest, "metadata": metadata}, self.where.get("namespace", ""))
        return self.resource.create(body=body, **self.where).to_dict()

    def read(self, name):
        return self.resource.get(name=name, **self.where).to_dict()

    def list(self):
        return self.resource.get(label_selector=self.selector, **self.where)

    def update(self, name):
        """Replace it as it is now; a controller may write between, then once more."""
        for _ in range(20):
            body = self.read(name)
            body["metadata"]["annotations"] = {"updated": "yes", "kept": "yes"}
            conflict = refused(self.resource.replace, body=body, **self.where)
            if conflict is None:
                return
            assert conflict["reason"] == "Conflict", conflict
        raise TimeoutError("there was always a conflict")

    def patch(self, name, body, type_):
        return self.resource.patch(body=body, name=name, content_type=type_, **self.where)

    def patch_all(self, name):
        """The three kinds of patches; gives the annotations after them, or the refusal."""
        self.patch(name, {"metadata": {"annotations": {"merge": "1", "updated": None}}}, MERGE)
        pointer = {"op": "add", "path": "/metadata/annotations/json", "value": "1"}
        self.patch(name, [{"op": "test", "path": "/kind", "value": self.resource.kind}], JSON)
        self.patch(name, [pointer], JSON)
        strategic = {"metadata": {"annotations": {"strategic": "1"}}}
        refusal = refused(self.patch, name, strategic, STRATEGIC)
        found = sorted(self.read(name)["metadata"]["annotations"])
        ours = [key for key in found if key in ("kept", "merge", "json", "strategic", "updated")]
        return [*ours, refusal["code"]] if refusal else ours

    def write_status(self, name):
        """By the subresource the status alone changes, by the main resource all but it."""
        written = {"conditions": [{"type": "example.org/Written", "status": "True"}]}
        ignored = {"conditions": [{"type": "example.org/Ignored", "status": "True"}]}
        before = self.read(name)
        body = {"spec": {"walked": "no"}, "status": written}
        face = self.resource.status
        after = face.patch(body=body, name=name, content_type=MERGE, **self.where).to_dict()
        main = self.patch(name, {"status": ignored}, MERGE).to_dict()
        conditions = main["status"].get("conditions") or []
        return {
            "written": after["status"]["conditions"] == written["conditions"],
            "spec": after.get("spec") == before.get("spec"),
            "ignored": "example.org/Ignored" not in [one["type"] for one in conditions],
        }

    def follow(self, version, names):
        """What a watch tells of the objects until the last is gone, and in which order."""
        stream, told, versions = watch.Watch(), {}, []
        for event in self.resource.watch(
            label_selector=self.selector,
            resource_version=version,
            timeout=WAIT_SECONDS,
            watcher=stream,
            **self.where,
        ):
            metadata = event["raw_object"]["metadata"]
            versions.append(int(metadata["resourceVersion"]))
            seen = told.setdefault(metadata["name"], [])
            if not seen or seen[-1] != event["type"]:
                seen.append(event["type"])
            if set(told) == names and all(each[-1] == "DELETED" for each in told.values()):
                stream.stop()
                break
        return {"of": [told[name] for name in sorted(names)], "versions": versions}


def kinds():
    """The dynamic client's table; its discovery is kept out of the machine's shared folder."""
    if not found_kinds:
        folder = tempfile.mkdtemp()
        made = dynamic.DynamicClient(client.ApiClient(), cache_file=f"{folder}/discovery.json")
        found_kinds.append(made.resources)
    return found_kinds[0]


found_kinds = []


def fill(body, namespace):
    """The body with the walk's namespace where the table says NAMESPACE."""
    if isinstance(body, dict):
        return {key: fill(value, namespace) for key, value in body.items()}
    if isinstance(body, list):
        return [fill(value, namespace) for value in body]
    return namespace if body == "NAMESPACE" else body


def deployment(name, *images):
    """One that has no replicas: nothing runs."""
    labels = {"app": name}
    containers = [{"name": f"c{n}", "image": image} for n, image in enumerate(images)]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name}, "spec": spec}


def patches(namespace):
    """How the three kinds of patches differ on a list of containers."""
    apps.create_namespaced_deployment(namespace, deployment("web", "busybox:1", "busybox:2"))
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c1", "image": "debian"}]}}}}

    deployments = kinds().get(api_version="apps/v1", kind="Deployment")

    def send(body, type_):
        made = deployments.patch(body=body, name="web", namespace=namespace, content_type=type_)
        return [one.image for one in made.spec.template.spec.containers]

    told = {"strategic": send(change, STRATEGIC), "merge": send(change, MERGE)}
    image = "/spec/template/spec/containers/0/image"
    told["json"] = send([{"op": "replace", "path": image, "value": "alpine"}], JSON)
    wrong = [{"op": "test", "path": image, "value": "ubuntu"}, {"op": "remove", "path": image}]
    told["test"] = refused(send, wrong, JSON)["code"]
    told["absent"] = refused(send, [{"op": "remove", "path": "/spec/nowhere"}], JSON)["code"]
    order = {"$deleteFromPrimitiveList/finalizers": ["b/b"], "finalizers": ["c/c"]}
    metadata = {"metadata": {"name": "x", "finalizers": ["a/a", "b/b"]}}
    core.create_namespaced_config_map(namespace, metadata)
    patched = core.patch_namespaced_config_map("x", namespace, {"metadata": order})
    told["list"] = patched.metadata.finalizers
    core.patch_namespaced_config_map("x", namespace, {"metadata": {"finalizers": None}})
    return told


def conflicts(namespace):
    """A stale version is refused however it is written, and changes nothing."""
    made = core.create_namespaced_config_map(
        namespace, {"metadata": {"name": "x"}, "data": {"a": "1"}}
    )
    core.patch_namespaced_config_map("x", namespace, {"data": {"a": "2"}})
    made.data = {"a": "3"}
    version = made.metadata.resource_version
    stale = {"metadata": {"resourceVersion": version}, "data": {"a": "3"}}
    options = {"preconditions": {"resourceVersion": version}}
    told = {
        "replace": refused(core.replace_namespaced_config_map, "x", namespace, made),
        "patch": refused(core.patch_namespaced_config_map, "x", namespace, stale)["code"],
        "delete": refused(core.delete_namespaced_config_map, "x", namespace, body=options)["code"],
        "data": core.read_namespaced_config_map("x", namespace).data,
    }
    made.metadata = {"name": "x", "resourceVersion": None}
    told["unguarded"] = core.replace_namespaced_config_map("x", namespace, made).data
    return told


def refusals(namespace):
    """Bad objects, by what their refusal says."""

    def config_map(metadata, **parts):
        return refused(
            core.create_namespaced_config_map, namespace, {"metadata": metadata, **parts}
        )

    pod = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "x"}]}}
    unknown = {"metadata": {"name": "x"}, "dato": {}}
    return {
        "name": config_map({"name": "Not Lower"}),
        "no name": config_map({}),
        "type": config_map({"name": "x"}, data={"a": 1}),
        "namespace": config_map({"name": "x", "namespace": "other"}),
        "version": config_map({"name": "x", "resourceVersion": "7"}),
        "image": refused(core.create_namespaced_pod, namespace, pod),
        "absent": refused(core.read_namespaced_secret, "x", namespace),
        "strict": refused(
            core.create_namespaced_config_map, namespace, unknown, field_validation="Strict"
        ),
        "lenient": config_map({"name": "y"}, dato={}),
        "selector": refused(core.list_namespaced_pod, namespace, label_selector="a=(b"),
        "field": refused(core.list_namespaced_pod, namespace, field_selector="spec.color=red"),
        "no such kind": refused(
            custom.list_namespaced_custom_object, "example.org", "v1", namespace, "things"
        ),
    }


def names(found):
    """Sorted names of a list's objects."""
    return sorted(one.metadata.name for one in found.items)


def label_selectors(namespace, selectors):
    """Whom each selector finds."""
    labels = {"a": {"tier": "web", "env": "live"}, "b": {"tier": "db", "env": "test"}, "c": {}}
    for name, own in labels.items():
        metadata = {"name": name, "labels": {**own, "set": "yes"}}
        core.create_namespaced_config_map(namespace, {"metadata": metadata})
    return {
        selector: names(
            core.list_namespaced_config_map(namespace, label_selector=f"set,{selector}")
        )
        for selector in selectors
    }


def field_selectors(namespace):
    """Whom the fields that upstream knows find, of one namespace and of all."""
    make_pod(namespace, "done", "true")
    make_pod(namespace, "runs", *SLEEP)
    make_pod(namespace, "waits", *SLEEP, resources={"requests": {"cpu": "5000"}})
    until_ended(namespace, "done")
    node = until_pod(namespace, "runs", lambda pod: pod.status.phase == "Running").spec.node_name
    until_event(namespace, "waits", "FailedScheduling")
    opaque = {"metadata": {"name": "s"}, "stringData": {"a": "1"}}
    core.create_namespaced_secret(namespace, opaque)
    core.create_namespaced_secret(
        namespace, {**opaque, "metadata": {"name": "auth"}, "type": "example.org/auth"}
    )

    def pods(selector):
        return names(core.list_namespaced_pod(namespace, field_selector=selector))

    warnings = core.list_namespaced_event(namespace, field_selector="type=Warning").items
    of_done = core.list_namespaced_event(namespace, field_selector="involvedObject.name=done")
    everywhere = core.list_pod_for_all_namespaces(
        field_selector=f"metadata.namespace={namespace},metadata.name!=done"
    )
    return {
        "metadata.name": pods("metadata.name=runs"),
        "status.phase": pods("status.phase=Succeeded"),
        "not over": pods("status.phase!=Succeeded,status.phase!=Failed"),
        "spec.nodeName": pods(f"spec.nodeName={node}"),
        "no node": pods("spec.nodeName="),
        "everywhere": names(everywhere),
        "type of a secret": names(
            core.list_namespaced_secret(namespace, field_selector="type=example.org/auth")
        ),
        "involvedObject.name": sorted({one.involved_object.name for one in of_done.items}),
        "type": sorted({one.type for one in warnings}),
    }


def watches_of_selectors(namespace):
    """An object that comes into a selector's sight is added, one that leaves it is deleted."""
    options = {"label_selector": "seen=yes"}
    found = core.list_namespaced_config_map(namespace, **options)
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "x"}})
    for seen in ("yes", "no"):
        patch = {"metadata": {"labels": {"seen": seen}}}
        core.patch_namespaced_config_map("x", namespace, patch)
    core.create_namespaced_config_map(
        namespace, {"metadata": {"name": "last", "labels": {"seen": "yes"}}}
    )
    told, stream = [], watch.Watch()
    for event in stream.stream(
        core.list_namespaced_config_map,
        namespace,
        resource_version=found.metadata.resource_version,
        timeout_seconds=WAIT_SECONDS,
        **options,
    ):
        told.append([event["type"], event["object"].metadata.name])
        if event["object"].metadata.name == "last":
            stream.stop()
    return told


def generated_names(namespace):
    """Names that the server makes up."""
    body = {"metadata": {"generateName": "job-"}}
    made = [core.create_namespaced_config_map(namespace, body).metadata for _ in range(5)]
    both = {"metadata": {"generateName": "job-", "name": "given"}}
    return {
        "names": [one.name for one in made],
        "prefix": sorted({one.generate_name for one in made}),
        "given": core.create_namespaced_config_map(namespace, both).metadata.name,
    }


def owned_by(name, uid):
    """Metadata of a dependent of a ConfigMap."""
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}
    return [{**reference, "blockOwnerDeletion": True, "controller": True}]


def owners(namespace):
    """What becomes of dependents by each way of deleting their owner."""

    def family(name):
        owner = core.create_namespaced_config_map(namespace, {"metadata": {"name": name}})
        references = owned_by(name, owner.metadata.uid)
        metadata = {"name": f"{name}-child", "ownerReferences": references}
        child = core.create_namespaced_secret(namespace, {"metadata": metadata})
        references = [{**owned_by(f"{name}-child", child.metadata.uid)[0], "kind": "Secret"}]
        metadata = {"name": f"{name}-grandchild", "ownerReferences": references}
        core.create_namespaced_config_map(namespace, {"metadata": metadata})

    told = {}
    for policy in ("Background", "Foreground", "Orphan"):
        name = policy.lower()
        family(name)
        core.delete_namespaced_config_map(name, namespace, propagation_policy=policy)
        only = {"field_selector": f"metadata.name={name}"}
        until_gone(core.list_namespaced_config_map, namespace, **only)
        if policy == "Background":  # its dependents go after it
            grandchild = {"field_selector": "metadata.name=background-grandchild"}
            until_gone(core.list_namespaced_config_map, namespace, **grandchild)
        left = names(core.list_namespaced_config_map(namespace))
        left += names(core.list_namespaced_secret(namespace))
        told[policy] = [one for one in left if one.startswith(name)]
    child = core.read_namespaced_secret("orphan-child", namespace)
    told["references"] = child.metadata.owner_references or []
    metadata = {"name": "lost", "ownerReferences": owned_by("nobody", "no-such-uid")}
    core.create_namespaced_config_map(namespace, {"metadata": metadata})
    lost = {"field_selector": "metadata.name=lost"}
    until_gone(core.list_namespaced_config_map, namespace, **lost)
    return told


def finalizers(namespace):
    """A delete only marks what has a finalizer; it goes with the last of them."""
    metadata = {"name": "x", "finalizers": ["example.org/one", "example.org/two"]}
    core.create_namespaced_config_map(namespace, {"metadata": metadata})
    core.delete_namespaced_config_map("x", namespace)
    marked = core.read_namespaced_config_map("x", namespace).metadata
    more = {"metadata": {"finalizers": [*marked.finalizers, "example.org/three"]}}
    told = {
        "marked": marked.deletion_timestamp is not None,
        "more": refused(core.patch_namespaced_config_map, "x", namespace, more)["code"],
    }
    fewer = [{"op": "remove", "path": "/metadata/finalizers/0"}]
    left = core.patch_namespaced_config_map("x", namespace, fewer)
    told["left"] = left.metadata.finalizers
    core.patch_namespaced_config_map("x", namespace, fewer)
    told["after"] = refused(core.read_namespaced_config_map, "x", namespace)["code"]
    return told


def what_is_left(namespaces):
    """The messages of the namespace's conditions that say what keeps it, by type."""
    found = namespaces[0].status.conditions or []
    return {one.type: one.message for one in found if one.status == "True"}


def namespace_deletion(namespace):
    """All that is in a namespace goes with it; meanwhile nothing new is taken."""
    inner = f"{namespace}-inner"
    core.create_namespace({"metadata": {"name": inner}})
    metadata = {"name": "held", "finalizers": ["example.org/hold"]}
    core.create_namespaced_config_map(inner, {"metadata": metadata})
    core.create_namespaced_secret(inner, {"metadata": {"name": "s"}, "stringData": {"a": "1"}})
    apps.create_namespaced_deployment(inner, deployment("web", "busybox"))
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    core.create_namespaced_persistent_volume_claim(
        inner, {"metadata": {"name": "c"}, "spec": claim}
    )
    make_pod(inner, "runs", *SLEEP)
    until_pod(inner, "runs", lambda pod: pod.status.phase == "Running")
    core.delete_namespace(inner)
    told = {"phase": core.read_namespace(inner).status.phase}
    told["new"] = refused(core.create_namespaced_config_map, inner, {"metadata": {"name": "n"}})
    until_gone(core.list_namespaced_pod, inner)

    until(core.list_namespaced_config_map, lambda left: len(left) == 1, inner)
    told["held"] = names(core.list_namespaced_config_map(inner))
    selector = f"metadata.name={inner}"
    (left,) = until(
        core.list_namespace,
        lambda found: "NamespaceFinalizersRemaining" in what_is_left(found),
        field_selector=selector,
    )
    told["left"] = what_is_left([left])
    release = {"metadata": {"finalizers": None}}
    core.patch_namespaced_config_map("held", inner, release)
    until_gone(core.list_namespace, field_selector=selector)
    core.create_namespace({"metadata": {"name": inner}})  # nothing of the first is in the second
    told["again"] = [
        one
        for list_ in (
            core.list_namespaced_secret,
            core.list_namespaced_pod,
            core.list_namespaced_persistent_volume_claim,
            apps.list_namespaced_deployment,
        )
        for one in names(list_(inner))
    ]
    core.delete_namespace(inner)
    return told


def pod_events(namespace):
    """What the events of a pod tell."""
    made = make_pod(namespace, "x", "true")
    until_event(namespace, "x", "Started")
    selector = f"involvedObject.name=x,involvedObject.uid={made.metadata.uid}"
    found = core.list_namespaced_event(namespace, field_selector=selector).items
    return {
        "reasons": sorted({one.reason for one in found}),
        "types": sorted({one.type for one in found}),
        "kinds": sorted({one.involved_object.kind for one in found}),
        "sources": sorted({(one.source.component or one.reporting_component) for one in found}),
        "messages": all(one.message for one in found),
    }


def paging(namespace):
    """A list in pieces: one state of the world, though objects come and go between."""
    selector = {"label_selector": "page=yes", "limit": 4}
    for number in range(10):
        metadata = {"name": f"n{number}", "labels": {"page": "yes"}}
        core.create_namespaced_config_map(namespace, {"metadata": metadata})
    pages, token = [], None
    while True:
        page = core.list_namespaced_config_map(namespace, _continue=token, **selector)
        pages.append(names(page))
        token = page.metadata._continue
        if len(pages) == 1:
            core.delete_namespaced_config_map("n0", namespace)
            core.delete_namespaced_config_map("n9", namespace)
            metadata = {"name": "n5b", "labels": {"page": "yes"}}
            core.create_namespaced_config_map(namespace, {"metadata": metadata})
        if not token:
            break
    rest = core.list_namespaced_config_map(namespace, limit=4).metadata.remaining_item_count
    garbage = refused(core.list_namespaced_config_map, namespace, _continue="xyz", limit=4)
    return {"pages": pages, "remaining": rest, "garbage": garbage["code"]}


if __name__ == "__main__":
    play(
        {
            scenario.__name__: scenario
            for scenario in (
                walk, applied, patches, conflicts, refusals, label_selectors, field_selectors,
                watches_of_selectors, generated_names, owners, finalizers, namespace_deletion,
                pod_events, paging,
            )
        }
    )  # fmt: skip
