"""Namespaces, accounts, their tokens and bindings by the official client, as their admin has it.

Arguments: ``prepare`` NAMESPACE ACCOUNT makes both and prints a token; ``bind`` NAMESPACE ACCOUNT
HOME lets the account of namespace HOME view NAMESPACE, ``unbind`` no longer.
"""

import sys

from kubernetes import client, config

config.load_kube_config()
core = client.CoreV1Api()
rbac = client.RbacAuthorizationV1Api()


def prepare(namespace, account):
    known = {found.metadata.name for found in core.list_namespace().items}
    if namespace not in known:
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
    named = client.V1ObjectMeta(name=account)
    core.create_namespaced_service_account(namespace, client.V1ServiceAccount(metadata=named))
    asked = client.AuthenticationV1TokenRequest(
        spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=3600)
    )
    answer = core.create_namespaced_service_account_token(account, namespace, asked)
    print(answer.status.token)


def bind(namespace, account, home):
    group = "rbac.authorization.k8s.io"
    rbac.create_namespaced_role_binding(
        namespace,
        client.V1RoleBinding(
            metadata=client.V1ObjectMeta(name=f"{home}-{account}"),
            role_ref=client.V1RoleRef(api_group=group, kind="ClusterRole", name="view"),
            subjects=[client.RbacV1Subject(kind="ServiceAccount", name=account, namespace=home)],
        ),
    )


def unbind(namespace, account, home):
    rbac.delete_namespaced_role_binding(f"{home}-{account}", namespace)


{"prepare": prepare, "bind": bind, "unbind": unbind}[sys.argv[1]](*sys.argv[2:])
