"""EndpointSlices: the addresses of the pods behind each Service.

May import: what ``cluster.controllers`` may. To change what is decided open ``plan``; how it is
observed and done, ``reconciler``.
"""
