"""What a container can reach on this machine over the network."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from containers import aws

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def host_ports(environ: Mapping[str, str], variables: Mapping[str, str]) -> list[tuple[str, int]] | None:
    """Addresses and ports of this machine's loopback interface, for a container with a network of its own.

    None: it shares the network of this machine, as on AWS, where the execution environment is the boundary.
    Containers have their own network on the embedded cloud. It is recognized by `AWS_ENDPOINT_URL` in
    `environ`, the runner's own environment: the host is `localhost`, a name that ends in `.localhost`, or an
    address of the loopback interface (127.0.0.0/8, ::1). A name that merely resolves to such an address does
    not count.

    Containers reach that endpoint, and the proxies on loopback that the function's owner sets in `variables`.
    Proxies in an image or an event are ignored.
    """
    endpoint = _loopback(aws.own_endpoint(environ) or "")
    if endpoint is None:
        return None
    proxies = (_loopback(value) for name, value in variables.items() if name.lower() in _PROXIES)
    return list(dict.fromkeys([endpoint, *(proxy for proxy in proxies if proxy is not None)]))


def _loopback(url: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", _port(parts)
        if host == "localhost" or host.endswith(".localhost"):
            return "127.0.0.1", port
        return (host, port) if ipaddress.ip_address(host).is_loopback else None
    except ValueError:
        return None


def _port(parts: SplitResult) -> int:
    return parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)
