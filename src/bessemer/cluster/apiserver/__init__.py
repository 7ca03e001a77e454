"""The generic API machine: verbs over the store, and their https face.

May import: ``admission``, ``store``, ``kube``, ``kinds``, ``base``; of ``kubelet`` the logs port.
The machine: ``machine``, ``strategy``, ``deletion``, ``reading``, ``scale``, and ``fieldmanager``,
a room of its own: server-side apply and who owns which field. The face: ``app`` (the chain of a
request), ``request`` (bodies and answers), ``protobuf`` (protobuf bodies), ``fieldmanagers`` (who
a write says it is by), ``routing``, ``verbs``, ``watching``, ``duplicates`` (keys given twice),
``render`` (Tables), ``subresources`` (pods/log, pods/binding, serviceaccounts/token), ``proxy``,
``reviews``, ``documents`` with ``discovery`` and ``openapi``, ``metrics``. Access: ``tokens``,
``rbac``, ``escalation``, ``impersonation``, ``certificates``, ``kubeconfig``.
"""
