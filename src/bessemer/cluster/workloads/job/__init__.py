"""Job: pods that run to their end, counted exactly once.

May import: what ``cluster.workloads`` may. To change what is decided open ``plan``; how it is
observed and done, ``reconciler``.
"""
