"""Model serving: InferenceServices, and the runtimes that come with this program."""

from __future__ import annotations

from bessemer.app.capabilities.capability import Capability, Context, Opened, Rights
from bessemer.kinds import servingruntime
from bessemer.kinds.inferenceservice import INFERENCE_SERVICE
from bessemer.kinds.namespace import SYSTEM_NAMESPACE
from bessemer.kinds.servingruntime import SERVING_RUNTIME
from bessemer.serving import reconciler
from bessemer.serving.manifests import Address


def _open(context: Context) -> Opened:
    gateway = context.gateway
    address = Address(f"http://{gateway.host}:{gateway.port}", context.domain)
    controller = reconciler.make_controller(
        context.client, context.informers, context.clock, address, context.artifacts
    )
    return Opened({"serving": controller.run})


SERVING = Capability(
    "serving",
    _open,
    kinds=(INFERENCE_SERVICE, SERVING_RUNTIME),
    rights=(
        Rights(
            "serving.kserve.io",
            edited=("inferenceservices", "servingruntimes"),
            read=("inferenceservices/status", "servingruntimes/status"),
        ),
    ),
    objects=tuple(
        (SERVING_RUNTIME, runtime) for runtime in servingruntime.shipped(SYSTEM_NAMESPACE)
    ),
)
