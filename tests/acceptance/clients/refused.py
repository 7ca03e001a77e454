"""Hands KFP what it must refuse, by ``kfp.Client``, as told line by line.

Takes JSON lines ``[deed, file, words]``; answers each by one line ``{"status", "body"}``.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import kfp
import kfp_server_api
import yaml


def body_of(error: kfp_server_api.ApiException) -> object:
    try:
        return json.loads(error.body)
    except ValueError:
        return error.body


def upload(client: kfp.Client, file: str, name: str) -> object:
    # The SDK's own method reads the name of a pipeline from the file first, if none is given.
    return client._upload_api.upload_pipeline(file, name=name, namespace="kubeflow").to_dict()


def run(client: kfp.Client, file: str, arguments: str) -> object:
    made = client._run_api.run_service_create_run(
        run=kfp_server_api.V2beta1Run(
            display_name="refused",
            pipeline_spec=next(yaml.safe_load_all(Path(file).read_text())),
            runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters=json.loads(arguments)),
        )
    )
    return made.run_id


DEEDS = {"upload": upload, "run": run}

if __name__ == "__main__":
    client = kfp.Client()
    for line in sys.stdin:
        deed, file, words = json.loads(line)
        try:
            answer = {"status": 200, "body": DEEDS[deed](client, file, words)}
        except kfp_server_api.ApiException as error:
            answer = {"status": error.status, "body": body_of(error)}
        print(json.dumps(answer, default=str), flush=True)
