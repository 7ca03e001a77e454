"""What every HTTP face shares: who is it, may he, errors, bodies, pages of a list.

May import: ``kube`` (access, errors), ``database``, ``base``. Knows no capability's own things.

To change how a token is proven or a right asked open ``guard``; what is refused and as which
status, ``errors`` and ``answers``; how a body is read and limited, ``bodies``; how a list goes
from page to page, ``paging``; who asks, and the query, ``requests``.
"""
