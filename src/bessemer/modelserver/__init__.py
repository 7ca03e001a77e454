"""A program of its own that runs inside serving pods: Open Inference Protocol V1 and V2.

``python -m bessemer.modelserver --model_name iris --model_dir /path --framework sklearn``

May import: ``base`` and what its environment has: numpy, uvicorn, orjson,
prometheus-client and one model framework. Nobody imports it.

- a framework, or a file form of a model: ``frameworks/``
- how requests and answers look on the wire: ``codecs/``
- what the server can do, whoever asks: ``dataplane``; calls of one moment become one: ``batching``
- paths, methods, status codes: ``asgi``; metrics: ``metrics``; flags, start and end: ``__main__``
"""
