"""What every room may lean on: errors, the clock, ids, logging, the home's paths.

Knows nothing of the others. May import: the standard library only (``modelserver`` runs it in
users' environments).
To change the shape of an error message open ``errors``; where time comes from, ``clock``;
how names are made, ``ids``; how log lines look, ``logs``; where what lies in a home, ``home``;
how what pods wrote is measured and deleted, ``trees``; how a heavy module is imported when it is
first used, ``lazily``.
"""
