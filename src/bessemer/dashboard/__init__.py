"""Web pages for people: served at P+1 beside the KFP routes.

May import: ``pipelines`` (its records and history, to read them), ``kube``, ``resources``,
``base``. Nothing imports it but app.py.

Pages are strings made on the server; the one script follows kfp's ``/#/runs/details/<id>`` links
and posts the code of a link that signs in. To change what is served open ``pages``; how one signs
in and out, ``entrance``; whose requests are taken, ``origin``; how long one stays signed in,
``sessions``. How the list of runs and services looks: ``overview``; one run and its logs, ``run``;
why something waits, ``attempts``; curves and matrices, ``charts``; the frame of all, ``frame``; the
style, the script and the headers, ``assets``; escaping, ``html``. Artifacts to look at and to
download: ``reports``, and their files, ``files``.
"""
