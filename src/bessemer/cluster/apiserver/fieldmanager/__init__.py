"""Who owns which field of an object, and server-side apply over it. Pure.

May import: ``kinds``, ``kube.errors``, ``base``. From the bottom up: ``fieldsets`` (the algebra of
sets of fields, in the form that ``metadata.managedFields`` has), ``mergetypes`` (which parts of an
object are owned one by one, by its schema), ``objects`` (an object's fields, what differs between
two, merging, taking fields away), ``entries`` (``managedFields`` itself), ``tracking`` (what a
create, an update or a patch makes of it), ``applying`` (apply: merge, conflicts, pruning),
``lastapplied`` (the annotation of client-side apply).
Source: sigs.k8s.io/structured-merge-diff, k8s.io/apimachinery pkg/util/managedfields.
"""
