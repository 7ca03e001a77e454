"""ReplicaSet: as many pods as it says, no more and no less.

May import: what ``cluster.controllers`` may. To change what is decided open ``plan``; how it is
observed and done, ``reconciler``.
"""
