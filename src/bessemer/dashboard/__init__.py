"""Web pages for people: served at P+1 beside the KFP routes.

May import: ``kube``, ``resources``, ``base`` and, through app.py, what it is handed.
"""
