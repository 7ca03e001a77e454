"""KServe's own server with a scikit-learn model: what bench_serving compares with.

Decodes and answers as KServe's sklearn server does, by kserve's own helpers; its logs are off.
"""

import logging
import sys

import joblib
import kserve
from kserve.utils.utils import get_predict_input, get_predict_response

PATH = sys.argv.pop(1)


class Model(kserve.Model):
    def __init__(self) -> None:
        super().__init__("iris")
        self.estimator = joblib.load(PATH)
        self.ready = True

    def predict(self, payload, headers=None):
        rows = get_predict_input(payload)
        return get_predict_response(payload, self.estimator.predict(rows), self.name)


if __name__ == "__main__":
    model = Model()
    server = kserve.ModelServer(enable_grpc=False, enable_latency_logging=False, workers=1)
    logging.disable(logging.CRITICAL)
    server.start([model])
