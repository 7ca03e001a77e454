"""Deployment: pods that go on running, replaced a few at a time."""

from __future__ import annotations

from bessemer.kinds import columns, meta, rules, template
from bessemer.kinds.kind import Cause, Column, Kind, Object


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    template.fill(obj)


def _validate(new: Object, _old: Object | None) -> list[Cause]:
    spec = new["spec"]
    causes = template.check_replicated(new, "deployment")
    causes += _check_strategy(spec["strategy"])
    causes += rules.not_negative("spec.revisionHistoryLimit", spec["revisionHistoryLimit"])
    deadline, ready = spec["progressDeadlineSeconds"], spec.get("minReadySeconds", 0)
    if deadline <= ready:
        text = "must be greater than minReadySeconds"
        causes.append(rules.bad("spec.progressDeadlineSeconds", deadline, text))
    return causes


def _check_strategy(strategy: Object) -> list[Cause]:
    field = "spec.strategy"
    rolling = strategy.get("rollingUpdate")
    if strategy["type"] == "Recreate":
        text = "may not be specified when strategy `type` is 'Recreate'"
        return [rules.forbidden(f"{field}.rollingUpdate", text)] if rolling is not None else []
    if strategy["type"] != "RollingUpdate":
        return [
            rules.unsupported(f"{field}.type", strategy["type"], ("Recreate", "RollingUpdate"))
        ]
    causes = []
    for key in ("maxUnavailable", "maxSurge"):
        causes += _check_share(f"{field}.rollingUpdate.{key}", (rolling or {}).get(key))
    share = (rolling or {}).get("maxUnavailable")
    if not causes and isinstance(share, str) and int(share.removesuffix("%")) > 100:
        where = f"{field}.rollingUpdate.maxUnavailable"
        causes.append(rules.bad(where, share, "must not be greater than 100%"))
    if (
        not causes
        and rolling
        and _is_zero(rolling["maxUnavailable"])
        and _is_zero(rolling["maxSurge"])
    ):
        text = "may not be 0 when `maxSurge` is 0"
        value = rolling["maxUnavailable"]
        causes.append(rules.bad(f"{field}.rollingUpdate.maxUnavailable", value, text))
    return causes


def _check_share(field: str, value: object) -> list[Cause]:
    if isinstance(value, int):
        return rules.not_negative(field, value)
    number = str(value).removesuffix("%")
    if not str(value).endswith("%") or not number.isdecimal():
        return [rules.bad(field, value, "a valid percent string must be a numeric string followed "
                          "by an ending '%' (e.g. '1%',  or '93%', regex used for validation is "
                          "'[0-9]+%')")]  # fmt: skip
    return []


def _is_zero(value: object) -> bool:
    return value in (0, "0%")


DEPLOYMENT = Kind(
    "apps",
    "v1",
    "Deployment",
    "deployments",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    subresources=frozenset({"scale", "status"}),
    schema="apps.v1.Deployment",
    default=_default,
    validate=_validate,
    columns=(
        columns.NAME,
        Column(
            "Ready",
            lambda obj: (
                f"{meta.dig(obj, 'status.readyReplicas', 0)}/{meta.dig(obj, 'spec.replicas', 0)}"
            ),
        ),
        Column("Up-to-date", columns.path("status.updatedReplicas", 0), type="integer"),
        Column("Available", columns.path("status.availableReplicas", 0), type="integer"),
        columns.AGE,
        *columns.TEMPLATE,
    ),
)
