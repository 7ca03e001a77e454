"""Web pages for people: served at P+1 beside the KFP routes.

May import: ``pipelines`` (its records and history, to read them), ``artifacts.store``, ``web``,
``kube``, ``kinds``, ``base``. Nothing imports it but app.py.

Pages are strings made on the server; the one script follows kfp's ``/#/runs/details/<id>`` links
and posts the code of a link that signs in. What to open, to change

- what is served: ``pages``; how one signs in and out: ``entrance``; whose requests are taken:
  ``origin``; how long one stays signed in: ``sessions``
- how the list of runs and services looks: ``overview``; one run and its logs: ``run``; why
  something waits: ``attempts``; curves and matrices: ``charts``
- the frame of all: ``frame``; the style, the script, the headers: ``assets``; escaping: ``html``
- how artifacts are shown and downloaded: ``reports``; which part of a file: ``ranges``
"""
