"""How calls look on the wire: V1 and V2 JSON, V2 binary tensors, content encodings.

``v1`` and ``v2`` turn bytes into an ``InferRequest`` and an ``InferResponse`` into bytes;
``binary`` reads and writes raw tensors; ``compression`` does gzip and deflate. None knows HTTP.
May import the model server's ``errors`` and ``tensors``, numpy and orjson.
"""
