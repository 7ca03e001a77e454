"""Kinds with a pod template: what their templates and selectors must fulfil."""

from __future__ import annotations

from bessemer.kinds import labelselector, meta, poddefaults, podrules, rules
from bessemer.kinds.kind import Cause, Object


def fill(obj: Object) -> None:
    """Fill the template's pod spec in place."""
    spec = meta.dig(obj, "spec.template.spec")
    if isinstance(spec, dict):
        poddefaults.fill(spec)


def check(obj: Object, *, restart: tuple[str, ...]) -> list[Cause]:
    """The template's rules; ``restart`` are the restart policies that the kind takes."""
    field = "spec.template"
    template = obj["spec"]["template"]
    labels = meta.dig(template, "metadata.labels") or {}
    causes = rules.labels(f"{field}.metadata.labels", labels)
    spec = template.get("spec")
    if not spec:
        return [*causes, rules.required(f"{field}.spec.containers")]
    causes += podrules.check(spec, f"{field}.spec")
    policy = spec.get("restartPolicy")
    if policy not in restart:
        causes.append(rules.unsupported(f"{field}.spec.restartPolicy", policy, restart))
    return causes


def check_replicated(obj: Object, kind: str) -> list[Cause]:
    """As ``check`` for pods that go on: they always restart, and the selector fits the labels."""
    spec = obj["spec"]
    causes = rules.not_negative("spec.replicas", spec.get("replicas"))
    causes += rules.at_once("spec.replicas", spec.get("replicas"))
    causes += rules.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    selector = spec.get("selector") or {}
    causes += rules.selector("spec.selector", selector)
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        text = f"empty selector is invalid for {kind}"
        causes.append(rules.bad("spec.selector", selector, text))
    labels = meta.dig(obj, "spec.template.metadata.labels") or {}
    if not causes and not labelselector.selects(selector, labels):
        text = "`selector` does not match template `labels`"
        causes.append(rules.bad("spec.template.metadata.labels", labels, text))
    causes += check(obj, restart=("Always",))
    if meta.dig(obj, "spec.template.spec.activeDeadlineSeconds") is not None:
        text = f"activeDeadlineSeconds in {kind} is not Supported"
        causes.append(rules.forbidden("spec.template.spec.activeDeadlineSeconds", text))
    return causes
