"""Patches: RFC 7386, RFC 6902 and strategic merge, and what each refuses."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.kinds.inferenceservice import INFERENCE_SERVICE
from bessemer.kinds.pod import POD
from bessemer.kube import patches
from bessemer.kube.client import PatchType
from bessemer.kube.errors import BadRequest, Invalid, UnsupportedMediaType

POD_OBJECT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "labels": {"x": "1"}, "finalizers": ["a/b", "c/d"]},
    "spec": {
        "containers": [{"name": "m", "image": "i"}, {"name": "n", "image": "j"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "a"}],
    },
}


def apply(patch, patch_type, kind=POD, current=POD_OBJECT):
    before = copy.deepcopy(current)
    result = patches.apply(kind, current, patch, patch_type)

    assert current == before
    return result


def test_merge_sets_removes_and_replaces_lists():
    patch = {"metadata": {"labels": {"x": None, "y": "2"}}, "spec": {"containers": []}}

    found: Any = apply(patch, PatchType.MERGE)

    assert found["metadata"]["labels"] == {"y": "2"}
    assert found["spec"]["containers"] == []
    assert found["spec"]["volumes"] == POD_OBJECT["spec"]["volumes"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=2), values, max_size=3), values)
def test_a_merged_patch_changes_nothing_when_it_comes_again(current, patch):
    once = patches.merge(current, patch)

    assert patches.merge(once, patch) == once


@pytest.mark.parametrize(
    ("operations", "path", "expected"),
    [
        ([{"op": "add", "path": "/metadata/labels/z", "value": "1"}], "z", "1"),
        ([{"op": "replace", "path": "/metadata/labels/x", "value": "9"}], "x", "9"),
        ([{"op": "remove", "path": "/metadata/labels/x"}], "x", None),
        ([{"op": "copy", "from": "/metadata/labels/x", "path": "/metadata/labels/k"}], "k", "1"),
        ([{"op": "move", "from": "/metadata/labels/x", "path": "/metadata/labels/k"}], "x", None),
        ([{"op": "add", "path": "/metadata/labels/a~1b~0", "value": "1"}], "a/b~", "1"),
        ([{"op": "test", "path": "/metadata/labels/x", "value": "1"}], "x", "1"),
    ],
)
def test_json_operations(operations, path, expected):
    found = apply(operations, PatchType.JSON)

    assert found["metadata"]["labels"].get(path) == expected


def test_json_patch_inserts_and_appends_to_lists():
    operations = [
        {"op": "add", "path": "/metadata/finalizers/0", "value": "first/x"},
        {"op": "add", "path": "/metadata/finalizers/-", "value": "last/x"},
        {"op": "remove", "path": "/metadata/finalizers/1"},
    ]

    found = apply(operations, PatchType.JSON)

    assert found["metadata"]["finalizers"] == ["first/x", "c/d", "last/x"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/name", "value": "other"},
        {"op": "remove", "path": "/metadata/labels/none"},
        {"op": "replace", "path": "/metadata/none/x", "value": 1},
        {"op": "add", "path": "/metadata/finalizers/9", "value": "x"},
        {"op": "add", "path": "/metadata/name/x", "value": "x"},
        {"op": "fly", "path": "/metadata/name"},
        {"op": "move", "from": "/metadata", "path": "/metadata/labels"},
        {"op": "add", "path": "/metadata/name"},
    ],
)
def test_json_operations_that_do_not_fit_are_invalid(operation):
    with pytest.raises(Invalid) as caught:
        apply([operation], PatchType.JSON)

    assert caught.value.details == {}
    start = "the server rejected our request due to an error in our request"
    assert caught.value.message.startswith(start)


@pytest.mark.parametrize("patch", [{"op": "add"}, "x", 7, [7], [{"path": "/a"}]])
def test_json_patches_that_can_not_be_read(patch):
    with pytest.raises(BadRequest):
        apply(patch, PatchType.JSON)


def test_strategic_merges_containers_by_name_and_keeps_order():
    patch = {"spec": {"containers": [{"name": "n", "image": "new"}, {"name": "o", "image": "k"}]}}

    found = apply(patch, PatchType.STRATEGIC)

    assert [(c["name"], c["image"]) for c in found["spec"]["containers"]] == [
        ("m", "i"),
        ("n", "new"),
        ("o", "k"),
    ]


def test_strategic_deletes_by_directive():
    patch = {"spec": {"containers": [{"name": "m", "$patch": "delete"}]}}

    found = apply(patch, PatchType.STRATEGIC)

    assert [c["name"] for c in found["spec"]["containers"]] == ["n"]


def test_strategic_replaces_a_list_and_a_map_by_directive():
    patch = {
        "spec": {"containers": [{"name": "z", "image": "i"}, {"$patch": "replace"}]},
        "metadata": {"labels": {"$patch": "replace", "only": "1"}},
    }

    found = apply(patch, PatchType.STRATEGIC)

    assert found["spec"]["containers"] == [{"name": "z", "image": "i"}]
    assert found["metadata"]["labels"] == {"only": "1"}


def test_strategic_primitive_lists_are_sets():
    patch = {
        "metadata": {"finalizers": ["e/f", "a/b"], "$deleteFromPrimitiveList/finalizers": ["c/d"]}
    }

    found = apply(patch, PatchType.STRATEGIC)

    assert found["metadata"]["finalizers"] == ["e/f", "a/b"]


def test_strategic_atomic_lists_are_replaced():
    found = apply({"spec": {"tolerations": [{"key": "b"}]}}, PatchType.STRATEGIC)

    assert found["spec"]["tolerations"] == [{"key": "b"}]


def test_strategic_retain_keys_changes_a_volume_s_source():
    patch = {
        "spec": {
            "volumes": [
                {"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}
            ]
        }
    }

    found = apply(patch, PatchType.STRATEGIC)

    assert found["spec"]["volumes"] == [{"name": "v", "secret": {"secretName": "s"}}]


def test_strategic_set_element_order():
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "n"}, {"name": "m"}],
            "containers": [{"name": "m", "image": "z"}],
        }
    }

    found = apply(patch, PatchType.STRATEGIC)

    assert [c["name"] for c in found["spec"]["containers"]] == ["n", "m"]


def test_strategic_needs_the_merge_key():
    with pytest.raises(BadRequest, match="merge key: name"):
        apply({"spec": {"containers": [{"image": "x"}]}}, PatchType.STRATEGIC)


def test_custom_kinds_have_no_strategic_patch():
    with pytest.raises(UnsupportedMediaType):
        apply({}, PatchType.STRATEGIC, kind=INFERENCE_SERVICE)


def test_lists_as_long_as_a_body_are_merged_deleted_and_ordered_at_once():
    names = [f"x/{number}" for number in range(100_000)]
    containers = [{"name": name} for name in names]
    patch = {
        "metadata": {
            "finalizers": [*names, *names],
            "$deleteFromPrimitiveList/finalizers": names[1:],
            "$setElementOrder/finalizers": names[::-1],
        },
        "spec": {"containers": containers, "$setElementOrder/containers": containers[::-1]},
    }

    found = apply(patch, PatchType.STRATEGIC)
    gone = [{"name": name, "$patch": "delete"} for name in names]
    left = apply({"spec": {"containers": gone}}, PatchType.STRATEGIC, current=found)

    assert found["metadata"]["finalizers"] == ["x/0", "a/b", "c/d"]
    assert [c["name"] for c in found["spec"]["containers"]] == [*names[::-1], "m", "n"]
    assert [c["name"] for c in left["spec"]["containers"]] == ["m", "n"]


@pytest.mark.parametrize(
    ("before", "patched", "order", "after"),
    [
        # As k8s.io/apimachinery's mergeSortedSlice: what is new goes before what the patch
        # doesn't name; who was before a named one stays before it.
        ("mn", "o", None, "omn"),
        ("mn", "no", None, "mno"),
        ("mn", "on", None, "omn"),
        ("mn", "o", "om", "omn"),
        ("mn", "o", "no", "mno"),
        ("mnp", "p", "pn", "mpn"),
        ("mnp", "po", None, "mnpo"),
    ],
)
def test_strategic_lists_are_in_upstreams_order(before, patched, order, after):
    current = {"spec": {"containers": [{"name": name} for name in before]}}
    patch = {"spec": {"containers": [{"name": name, "image": "k"} for name in patched]}}
    if order:
        patch["spec"]["$setElementOrder/containers"] = [{"name": name} for name in order]

    found = apply(patch, PatchType.STRATEGIC, current=current)

    assert "".join(c["name"] for c in found["spec"]["containers"]) == after


@pytest.mark.parametrize("directive", ["$deleteFromPrimitiveList", "$setElementOrder"])
@pytest.mark.parametrize("value", [7, "a/b", {"a": 1}])
def test_strategic_list_directives_want_a_list(directive, value):
    with pytest.raises(BadRequest, match="must be a list"):
        apply({"metadata": {f"{directive}/finalizers": value}}, PatchType.STRATEGIC)


def test_copies_of_copies_are_refused_before_they_fill_the_memory():
    operations = [
        {"op": "copy", "from": "/spec", "path": f"/spec/twice{number}"} for number in range(64)
    ]

    with pytest.raises(Invalid, match="copy operations may copy 3145728 bytes"):
        apply(operations, PatchType.JSON)


class Counted(dict[str, object]):
    """An object that counts how often it is copied."""

    copies = 0

    def copy(self) -> "Counted":
        type(self).copies += 1
        return Counted(self)


def test_what_many_operations_change_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "copies", 0)
    wide = Counted({str(number): "" for number in range(1000)})
    patch = [{"op": "add", "path": "/data/z", "value": ""}] * 5000
    patch += [{"op": "test", "path": "/data/z", "value": ""}] * 4999
    patch += [{"op": "remove", "path": "/data/z"}]

    found = patches.apply(POD, {"data": wide}, patch, PatchType.JSON)

    assert found == {"data": wide}
    assert Counted.copies == 1


def test_a_copy_changes_apart_from_what_it_was_made_of() -> None:
    patch = [
        {"op": "add", "path": "/a/x", "value": {"n": 1}},
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "add", "path": "/b/x/n", "value": 2},
        {"op": "move", "from": "/a", "path": "/c"},
        {"op": "add", "path": "/c/y", "value": 3},
    ]

    found = apply(patch, PatchType.JSON, current={"a": {"o": 0}})

    assert found == {"b": {"o": 0, "x": {"n": 2}}, "c": {"o": 0, "x": {"n": 1}, "y": 3}}


def test_elements_that_move_are_bounded() -> None:
    many = {"op": "add", "path": "/x", "value": [0] * 400_000}
    patch = [many, *[{"op": "add", "path": "/x/0", "value": 1}] * 9_999]

    with pytest.raises(Invalid, match="may move 50000000 elements of lists"):
        apply(patch, PatchType.JSON)


def test_a_patch_deeper_than_pythons_stack_is_applied() -> None:
    deep: dict[str, object] = {}
    for _ in range(200):
        deep = {"a": deep}
    paths = ["/a" * (200 * number) for number in range(1, 11)]
    patch = [{"op": "add", "path": f"{path}/a", "value": deep} for path in ["", *paths]]

    found = apply(patch, PatchType.JSON, current={"a": 1})

    for _ in range(2000):
        found = found["a"]
    assert found


def test_an_element_named_again_and_again_is_refused() -> None:
    entries = [{"name": "m", "env": [{"name": f"V{number}"}]} for number in range(101)]

    with pytest.raises(BadRequest, match="may name one element 100 times, but 'm' is named 101"):
        apply({"spec": {"containers": entries}}, PatchType.STRATEGIC)
