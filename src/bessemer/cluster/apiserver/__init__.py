"""The generic API machine: verbs over the store, and their https face.

May import: ``admission``, ``store``, ``kube``, ``kinds``, ``base``; of ``kubelet`` the logs port.
The machine: ``machine``, ``strategy``, ``deletion``, ``reading``, ``scale``. The face: ``app``
(the chain of a request), ``exchange`` (bodies and answers), ``wire`` (protobuf bodies),
``routing``, ``verbs``, ``watching``, ``duplicates`` (keys given twice),
``render`` (Tables), ``parts`` (pods/log, pods/binding, serviceaccounts/token), ``proxy``,
``reviews``, ``documents`` with ``discovery`` and ``openapi``, ``metrics``. Access: ``tokens``,
``rbac``, ``escalation``, ``impersonation``, ``certificates``, ``kubeconfig``.
"""
