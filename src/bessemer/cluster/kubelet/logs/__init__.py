"""Reading the logs of pods, for the API server.

May import: ``pods``, ``runtime``; ``kinds``, ``base``.
To change what a reader may ask for open ``port``; how the files of a log are read as one and
followed, ``logfiles``.
"""
