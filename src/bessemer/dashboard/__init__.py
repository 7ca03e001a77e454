"""Web pages for people: served at P+1 beside the KFP routes.

May import: ``pipelines`` (its records and history, to read them), ``kube``, ``resources``,
``base``. Nothing imports it but app.py.

Pages are strings made on the server, with no JavaScript but the one line that follows kfp's
``/#/runs/details/<id>`` links. To change what is served and who may see it open ``pages``; how the
list of runs and services looks, ``overview``; one run, ``run``; curves and matrices, ``charts``;
the frame and the style of all, ``frame``; escaping, ``html``.
"""
