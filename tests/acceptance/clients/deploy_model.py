"""Trains one small model by the example's pipeline and serves it; prints its URL."""

import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples" / "breast_cancer"))

import kfp
from kserve import KServeClient
from pipeline import breast_cancer

if __name__ == "__main__":
    client = kfp.Client()
    made = client.create_run_from_pipeline_func(
        breast_cancer,
        arguments={
            "settings": [{"max_depth": 2}],
            "rounds": 20,
            "threshold": 0.5,
            "service": "steady",
        },
        namespace="kubeflow",
    )
    done = client.wait_for_run_completion(made.run_id, timeout=600, sleep_duration=1)
    if done.state != "SUCCEEDED":
        sys.exit(f"{done.state}: {done}")
    print(KServeClient().get("steady", "kubeflow")["status"]["url"])
