"""The gateway: HTTPRoutes and Services' addresses, by Envoy."""

from __future__ import annotations

from bessemer.app.capabilities.capability import Capability, Context, Opened, Rights
from bessemer.gateway import reconciler
from bessemer.kinds.httproute import HTTP_ROUTE


def _open(context: Context) -> Opened:
    controller = reconciler.make_controller(
        context.client, context.informers, context.clock, context.gateway
    )
    return Opened({"gateway": controller.run})


GATEWAY = Capability(
    "gateway",
    _open,
    kinds=(HTTP_ROUTE,),
    rights=(Rights("gateway.networking.k8s.io", read=("httproutes",)),),
)
