"""Garbage collection: what an owner's end means for its dependents.

May import: what ``cluster.controllers`` may. To change what is decided open ``plan``; how it is
observed and done, ``reconciler``.
"""
