"""Run in the example's environment: official clients against a model server. Iris, model "m"."""

import asyncio
import sys

import numpy as np

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]], dtype=np.float32)
WANTED = [0, 2]


def triton(url):
    from tritonclient import http  # noqa: PLC0415 - each client alone

    client = http.InferenceServerClient(url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("m")
    assert client.is_model_ready("m", "m-predictor-00001")
    assert client.get_server_metadata()["name"] == "bessemer"
    assert client.get_model_metadata("m")["inputs"][0]["shape"] == [-1, 4]
    assert client.get_model_repository_index()[0]["state"] == "READY"
    client.load_model("m")
    for binary_in in (False, True):
        for binary_out in (False, True):
            for packed in (None, "gzip", "deflate"):
                tensor = http.InferInput("input-0", [2, 4], "FP32")
                tensor.set_data_from_numpy(ROWS, binary_data=binary_in)
                output = http.InferRequestedOutput("output-0", binary_data=binary_out)
                answer = client.infer(
                    "m", [tensor], outputs=[output], request_compression_algorithm=packed,
                    response_compression_algorithm=packed,
                )  # fmt: skip
                assert answer.as_numpy("output-0").tolist() == WANTED
                assert answer.get_response()["model_version"] == "m-predictor-00001"
    tensor = http.InferInput("input-0", [1, 3], "FP32")
    tensor.set_data_from_numpy(ROWS[:1, :3])
    refusal = ""
    try:
        client.infer("m", [tensor])
    except http.InferenceServerException as error:
        refusal = str(error)
    assert "[-1, 4]" in refusal


async def kserve_client(url, protocol):
    from kserve import (  # noqa: PLC0415 - it parses argv when imported
        InferenceRESTClient,
        InferInput,
        InferRequest,
        RESTConfig,
    )

    client = InferenceRESTClient(RESTConfig(protocol=protocol))
    if protocol == "v1":
        answer = await client.infer(url, {"instances": ROWS.tolist()}, model_name="m")
        assert answer["predictions"] == WANTED
        assert await client.is_model_ready(url, "m")
        return
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "m")
    for binary in (False, True):
        tensor = InferInput("input-0", [2, 4], "FP32")
        tensor.set_data_from_numpy(ROWS, binary_data=binary)
        request = InferRequest("m", [tensor], parameters={"binary_data_output": binary})
        answer = await client.infer(url, request, model_name="m")
        # This client drops the answer's model_version.
        assert answer.outputs[0].as_numpy().tolist() == WANTED


if __name__ == "__main__":
    which, address = sys.argv[1:]
    sys.argv[1:] = []  # kserve parses it on import
    if which == "triton":
        triton(address)
    else:
        asyncio.run(kserve_client(address, which.removeprefix("kserve_")))
    print("ok")  # noqa: T201 - its answer to the test
