"""The table of all capabilities: what ``app`` installs, gives rights to, and runs."""

from bessemer.app.capabilities.capability import Capability
from bessemer.app.capabilities.gateway import GATEWAY
from bessemer.app.capabilities.pipelines import PIPELINES
from bessemer.app.capabilities.serving import SERVING

CAPABILITIES: tuple[Capability, ...] = (PIPELINES, SERVING, GATEWAY)
