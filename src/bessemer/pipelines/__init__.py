"""Kubeflow Pipelines v2: the spec, the engine, its history and the v2beta1 REST face.

May import: ``artifacts.store``, ``web``, ``control``, ``kube``, ``database``, ``kinds``,
``base``; no other capability.
The engine, from pure to acting: ``spec`` (the IR as nouns), ``types`` / ``conditions`` /
``placeholders`` (values, CEL, texts), ``inputs`` (where a task's inputs come from), ``tree`` /
``walk`` / ``plan`` (what is decided), ``retrying`` (what of a failed run is done again),
``caching``, ``importer``, ``claims`` (CreatePVC, DeletePVC), ``executor_io`` (a step's input and
output), ``pods`` / ``platform`` (a step's pod), ``outputs`` (what it left), ``reconciler`` /
``sweeping`` / ``podindex`` (what is done), ``leases`` / ``ownership`` (by which of several
replicas), ``engine`` (all of it joined). ``trial`` asks the
cluster before a run is taken.
``records`` is what the engine shares with the rest: ``history`` keeps it in the tables of
``tables``, ``run_catalog`` is what people ask of runs, ``catalog`` keeps pipelines and
experiments, ``api`` is the REST face over all three (``v2beta1``, ``listing`` and ``uploads`` are
its formats), ``steplogs`` reads logs.

To change when a task starts or how it ends open ``walk``; how a loop collects, ``tree``; retries
and termination, ``plan``; what is in a step's pod, ``pods``; a Kubernetes setting, ``platform``;
what is refused when a pipeline is read, ``spec.messages`` (its shape), ``spec.parse`` and
``spec.graph``; when a run is submitted, ``trial``; a REST route, ``api``.
"""
