"""Deployment: ReplicaSets old and new, scaled against each other.

May import: what ``cluster.controllers`` may. To change what is decided open ``plan``; how it is
observed and done, ``reconciler``.
"""
