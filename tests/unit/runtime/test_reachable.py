from __future__ import annotations

import pytest

from runtime.reachable import host_ports


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("http://127.0.0.1:4566", ("127.0.0.1", 4566)),
        ("http://127.9.8.7:80/path", ("127.9.8.7", 80)),
        ("http://localhost:4566", ("127.0.0.1", 4566)),
        ("http://LOCALHOST", ("127.0.0.1", 80)),
        ("https://cloud.localhost", ("127.0.0.1", 443)),
        ("http://[::1]:4566", ("::1", 4566)),
    ],
)
def test_an_endpoint_on_loopback_is_the_embedded_cloud(endpoint: str, expected: tuple[str, int]) -> None:
    assert host_ports({"AWS_ENDPOINT_URL": endpoint}, {}) == [expected]


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "https://s3.eu-west-1.amazonaws.com",
        "http://10.0.0.1:4566",
        "http://128.0.0.1",
        "http://localhost.example.com",
        "http://notlocalhost:1",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://[::1",
    ],
)
def test_any_other_endpoint_is_not(endpoint: str) -> None:
    assert host_ports({"AWS_ENDPOINT_URL": endpoint}, {"http_proxy": "http://127.0.0.1:3128"}) is None


def test_without_an_endpoint_nothing_changes() -> None:
    assert host_ports({}, {}) is None


def test_proxies_on_loopback_that_the_owner_names_are_reachable_too() -> None:
    variables = {
        "HTTP_PROXY": "http://127.0.0.1:3128",
        "https_proxy": "localhost:3129",
        "ALL_PROXY": "socks5://user:pass@127.0.0.1:1080",
        "NO_PROXY": "127.0.0.1:5",
        "no_proxy": "127.0.0.1:5",
        "http_proxy": "http://proxy.example.com:8080",
        "OTHER": "http://127.0.0.1:6",
    }
    assert host_ports({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, variables) == [
        ("127.0.0.1", 4566),
        ("127.0.0.1", 3128),
        ("127.0.0.1", 3129),
        ("127.0.0.1", 1080),
    ]
