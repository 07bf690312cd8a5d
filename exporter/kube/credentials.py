"""The credentials of this process for a cluster, and its own namespace.

In a pod both come from the mounted service account, elsewhere from `KUBECONFIG` or `~/.kube/config`. Sends nothing to
the API server. kubernetes_asyncio is imported only by a process that connects.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.kube.api import CredentialsError

if TYPE_CHECKING:
    from kubernetes_asyncio.client import Configuration

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token and the cluster's CA (kubernetes.io, "Accessing the API from a Pod")."""
LOGIN_SECONDS = 30.0
"""For reading a kubeconfig, which may run an exec plugin such as `aws eks get-token`."""

LogIn = Callable[[], Awaitable[None]]


async def log_in(settings: "Configuration", environ: Mapping[str, str], service_account: Path) -> LogIn | None:
    """Put credentials into `settings`; return what renews them when the server rejects them.

    Returns None in a pod: its token is read again by itself. Raises CredentialsError.
    """
    if _in_cluster(environ, service_account):
        _use_service_account(settings, environ, service_account)
        return None
    renew = _kubeconfig_login(settings, environ, service_account)
    await renew()
    return renew


def own_namespace(environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT) -> str:
    """Return the namespace of this process: its pod's, or else the kubeconfig's current one, or `default`.

    Reads only files. Raises CredentialsError.
    """
    if _in_cluster(environ, service_account):
        file = service_account / "namespace"
        try:
            return file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CredentialsError(f"Cannot read the pod's namespace from {file}: {error}.") from error
    from kubernetes_asyncio import config  # noqa: PLC0415 — costs 35 MB: only for a connection

    files = _kubeconfig_files(environ)
    try:
        _, current = config.list_kube_config_contexts(files)
        return str((current or {}).get("context", {}).get("namespace") or "default")
    except Exception as error:  # the loader raises whatever it trips over
        reason = str(error) or type(error).__name__
        raise CredentialsError(f"Cannot read the namespace from the kubeconfig {files}: {reason}.") from error


def _in_cluster(environ: Mapping[str, str], service_account: Path) -> bool:
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and (service_account / "token").is_file()


def _use_service_account(settings: "Configuration", environ: Mapping[str, str], service_account: Path) -> None:
    from kubernetes_asyncio import config  # noqa: PLC0415 — costs 35 MB: only for a connection

    try:
        config.load_incluster_config(  # type: ignore[no-untyped-call]  # the library's function has no types
            client_configuration=settings,
            token_filename=str(service_account / "token"),
            cert_filename=str(service_account / "ca.crt"),
            environ=dict(environ),
        )
    except (config.ConfigException, OSError) as error:
        raise CredentialsError(
            f"Cannot use the service account mounted at {service_account}: {error}. "
            "Check the pod's serviceAccountName and automountServiceAccountToken."
        ) from error


def _kubeconfig_files(environ: Mapping[str, str]) -> str:
    return environ.get("KUBECONFIG") or "~/.kube/config"


def _any_file(files: str) -> bool:
    """Whether one of the files exists; `KUBECONFIG` may name several."""
    return any(Path(file).expanduser().is_file() for file in files.split(os.pathsep) if file)


def _kubeconfig_login(settings: "Configuration", environ: Mapping[str, str], service_account: Path) -> LogIn:
    """Return what reads the kubeconfig into `settings`: at start, and again when its credentials expire."""
    from kubernetes_asyncio import config  # noqa: PLC0415 — costs 35 MB: only for a connection

    files = _kubeconfig_files(environ)

    async def renew() -> None:
        if not _any_file(files):
            raise CredentialsError(
                f"No credentials for Kubernetes: there is no kubeconfig at {files}, and no service account at "
                f"{service_account}. Set KUBECONFIG, or in a pod mount its service account's token."
            )
        try:
            async with asyncio.timeout(LOGIN_SECONDS):
                # The file is the user's: renewed credentials are not written back.
                await config.load_kube_config(config_file=files, client_configuration=settings, persist_config=False)
        except Exception as error:  # the loader and its plugins raise whatever they trip over
            reason = str(error) or type(error).__name__
            raise CredentialsError(f"Cannot use the kubeconfig {files}: {reason}.") from error

    return renew
