"""Job: pods that run to their end, counted exactly once.

May import: what ``cluster.controllers`` may. To change how pods are sorted and counted open
``pod_tracking``; when a Job ends, ``verdicts``; what a podFailurePolicy means, ``failures``;
completion indexes, ``indexes``; what is done next, ``plan``; how it is observed and done,
``reconciler``.
The rules of its spec stand in ``kinds.jobrules``.
"""
