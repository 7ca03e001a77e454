"""The objects that Envoy runs from."""

from dataclasses import replace

from bessemer.gateway import manifests
from bessemer.gateway.bootstrap import Authentication, Folders, GatewayOptions

SETTINGS = GatewayOptions("127.0.0.1", 8082, Authentication("secret", {"keys": []}, "iss", "aud"))


def test_whatever_envoy_begins_with_makes_another_deployment() -> None:
    others = [
        SETTINGS,
        replace(SETTINGS, port=8083),  # in the bootstrap and the probe
        replace(SETTINGS, authentication=None),  # in the bootstrap alone
        replace(SETTINGS, folders=Folders(bootstrap="/elsewhere")),  # in the pod alone
    ]
    digests = [manifests.digest_of(manifests.make_deployment(each)) for each in others]
    assert len(set(digests)) == len(others)
    assert manifests.digest_of(manifests.make_deployment(SETTINGS)) == digests[0]
