"""Which token server a registry may name, and which one receives the registry's password.

A registry answers 401 with the URL of a token server (`realm`), and the client sends the login there. Only
the registry vouches for the URL, so a hostile or misconfigured registry could have the password sent to
anyone (as in containerd's CVE-2020-15157 and go-containerregistry issue 2193), or have requests sent to this
machine's own services.

The login is sent to the registry's own host, and to hosts of the same domain: `registry-1.docker.io` names
`auth.docker.io`, `registry.gitlab.com` names `gitlab.com`. Instead of using the public suffix list, a domain
is identified by its last two labels, or three if the last two are shared by many owners. A few registries
whose token server is known to be elsewhere are listed.
"""

from __future__ import annotations

import ipaddress
import socket
import urllib.parse

from containers.errors import ErrorKind, ExplainedError

# Registry's host -> host of its token server, in another domain.
_KNOWN_PAIRS = frozenset(
    {
        ("registry.hub.docker.com", "auth.docker.io"),
        ("nvcr.io", "authn.nvidia.com"),
        ("registry.redhat.io", "sso.redhat.com"),
    }
)
# Two labels that are shared: `example.co.uk`, and clouds that give each customer a name below their own.
_SHARED_SECOND_LABELS = frozenset({"ac", "co", "com", "edu", "gob", "gov", "go", "ne", "net", "or", "org"})
_SHARED_DOMAINS = frozenset(
    {"amazonaws.com", "azurecr.io", "azurewebsites.net", "cloudfront.net", "github.io", "pkg.dev", "run.app"}
)
_COUNTRY = 2  # letters

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_token_server(realm: str, registry: str, *, with_login: bool) -> None:
    """Raise ExplainedError (kind `RegistryError`) unless the registry may use `realm`.

    `registry` is its origin (`https://host[:port]`); `with_login` means that a password would be sent.
    """
    try:
        there, home = urllib.parse.urlsplit(realm), urllib.parse.urlsplit(registry)
        host, own_host = there.hostname or "", home.hostname or ""
        own_port = there.port == home.port
    except ValueError:
        raise _refused(registry, realm, "whose address is malformed") from None
    host, own_host = host.lower().rstrip("."), own_host.lower().rstrip(".")
    # Over plain HTTP, anyone on the path can read the password, and the answer could be from any service of
    # this machine or network (the credentials endpoint of a container, for example).
    if not host or (there.scheme != "https" and not (there.scheme == home.scheme == "http")):
        raise _refused(registry, realm, "which does not use https")
    if host == own_host and own_port:
        return
    # Stops a registry from causing requests to services that only this machine or network can reach, such as
    # 169.254.169.254.
    if is_internal(host) and not (is_internal(own_host) and not _is_link_local(host)):
        raise _refused(registry, realm, "an address on this machine or in its network")
    related = host == own_host or (own_host, host) in _KNOWN_PAIRS
    if not related and _address(host) is None and _address(own_host) is None:
        related = _domain(host) == _domain(own_host)
    # Stops the password from going to whomever the registry names.
    if with_login and not related:
        raise _refused(registry, realm, "a third-party server, which must not receive the password")
    if there.scheme == "http" and not related:
        raise _refused(registry, realm, "a third-party server that does not use https")


def is_internal(host: str) -> bool:
    """Whether a host, as a URL has it, is an address of this machine, its network or its cloud's services."""
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return not address.is_global or address.is_multicast


def _is_link_local(host: str) -> bool:
    address = _address(host)
    return address is not None and (address.is_link_local or address.is_unspecified)


def _address(host: str) -> _Address | None:
    """The IP address of a host in any form that the C library accepts (`127.1`, `0x7f000001`)."""
    try:
        address: _Address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError, UnicodeError):
            return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _domain(host: str) -> str:
    labels = host.split(".")
    shared = ".".join(labels[-2:]) in _SHARED_DOMAINS or (
        len(labels[-1]) == _COUNTRY and labels[-2:-1] and labels[-2] in _SHARED_SECOND_LABELS
    )
    return ".".join(labels[-3:] if shared else labels[-2:])


def _refused(registry: str, realm: str, why: str) -> ExplainedError:
    host = urllib.parse.urlsplit(registry).netloc
    return ExplainedError(
        f"registry {host} sends its login to '{realm}', {why}",
        advice="Report this to the operator of the registry. Until then, use a mirror (-c "
        "registry_mirrors=...) or "
        "container.image_file",
        kind=ErrorKind.REGISTRY_ERROR,
    )
