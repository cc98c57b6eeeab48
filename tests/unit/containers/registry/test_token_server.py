"""A registry's password goes to the registry's own token server, and to nobody else."""

from __future__ import annotations

import base64

import pytest

from containers.errors import ExplainedError
from containers.patience import ServerPatience
from containers.registry.client import RegistryRepository
from containers.registry.token_server import check_token_server
from tests.registry_server import Answer, Request, ScriptedServer

QUICK = ServerPatience(timeout_s=2, attempts=2, first_pause_s=0.01, longest_pause_s=0.05)


def repository(address: str, login: tuple[str, str] | None) -> RegistryRepository:
    return RegistryRepository(
        address, "some/image", "image some/image", patience=QUICK, credentials=lambda _host: login
    )


def refusal(realm: str, registry: str, *, with_login: bool) -> ExplainedError | None:
    try:
        check_token_server(realm, registry, with_login=with_login)
    except ExplainedError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://registry.hub.docker.com", "https://auth.docker.io/token"),
        ("https://quay.io", "https://quay.io/v2/auth"),
        ("https://ghcr.io", "https://ghcr.io/token"),
        ("https://GHCR.io", "https://ghcr.io:443/token"),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("https://registry.git.human.example", "https://git.human.example/jwt/auth"),
        ("https://gitlab.example.org:5050", "https://gitlab.example.org/jwt/auth"),
        ("https://nvcr.io", "https://authn.nvidia.com/token"),
        ("https://registry.redhat.io", "https://sso.redhat.com/auth/realms/rhcc"),
        ("https://mine.azurecr.io", "https://mine.azurecr.io/oauth2/token"),
        ("https://docker.shop.co.uk", "https://login.shop.co.uk/token"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/token"),
        ("http://localhost:5000", "http://localhost:5001/token"),
        ("https://10.1.2.3", "https://10.1.2.3:8443/token"),
    ],
)
def test_a_token_server_of_the_registrys_own_gets_the_login(registry: str, realm: str) -> None:
    assert refusal(realm, registry, with_login=True) is None


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://registry.example.org", "https://attacker.example.net/token"),
        ("https://registry.example.org", "https://registry.example.org.attacker.net/token"),
        ("https://registry.example.org", "https://registry.example.org@attacker.net/token"),
        ("https://docker.shop.co.uk", "https://evil.co.uk/token"),
        ("https://mine.azurecr.io", "https://evil.azurecr.io/oauth2/token"),
        ("https://123456789012.dkr.ecr.eu-west-1.amazonaws.com", "https://evil.s3.amazonaws.com/token"),
        ("https://10.1.2.3", "https://10.1.2.4/token"),
        ("https://192.0.2.7", "https://198.51.100.7/token"),
        ("https://quay.io", "https://auth.docker.io/token"),
    ],
)
def test_nobody_else_gets_the_login(registry: str, realm: str) -> None:
    error = refusal(realm, registry, with_login=True)
    assert error is not None
    assert error.kind == "RegistryError"
    assert realm in error.cause
    assert "container.image_file" in error.advice


def test_a_token_for_nobody_may_come_from_another_domain() -> None:
    assert refusal("https://ghcr.io/token", "https://lscr.io", with_login=False) is None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "localhost",
        "registry.localhost",
        "169.254.169.254",
        "169.254.170.2",
        "10.0.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ],
)
@pytest.mark.parametrize("with_login", [True, False])
def test_a_public_registry_names_no_address_inside(host: str, with_login: bool) -> None:
    for registry in ("https://registry.example.org", "http://mirror.example.org"):
        for scheme in ("https", "http"):
            assert refusal(f"{scheme}://{host}/token", registry, with_login=with_login) is not None


@pytest.mark.parametrize("registry", ["http://127.0.0.1:5000", "http://10.0.0.5"])
def test_no_registry_names_the_credentials_endpoint_of_the_cloud(registry: str) -> None:
    assert refusal("http://169.254.169.254/latest", registry, with_login=False) is not None
    assert refusal("https://[::ffff:169.254.169.254]/x", registry, with_login=False) is not None
    assert refusal("https://[fe80::a9fe:a9fe]/x", registry, with_login=False) is not None


def test_another_port_of_a_link_local_registry_is_not_the_registry_itself() -> None:
    assert refusal("http://169.254.1.1:5000/token", "http://169.254.1.1:5000", with_login=False) is None
    assert refusal("http://169.254.1.1/latest", "http://169.254.1.1:5000", with_login=False) is not None


@pytest.mark.parametrize("with_login", [True, False])
@pytest.mark.parametrize(
    "realm",
    ["http://registry.example.org/token", "//x/token", "ftp://registry.example.org/", "", "https:///token"],
)
def test_never_over_plain_http_after_https(realm: str, with_login: bool) -> None:
    assert refusal(realm, "https://registry.example.org", with_login=with_login) is not None


def test_a_login_is_not_sent_to_a_server_that_the_registry_names() -> None:
    expected = "Basic " + base64.b64encode(b"me:secret").decode()
    with ScriptedServer(lambda _: Answer(200, b'{"token": "stolen"}')) as thief:

        def answer(_: Request) -> Answer:
            realm = f"http://localhost:{thief.port}/token"
            return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{realm}"'})

        with ScriptedServer(answer) as registry, pytest.raises(ExplainedError) as caught:
            repository(registry.address, ("me", "secret")).read_manifest("latest")
        assert thief.requests == []
    assert f"localhost:{thief.port}" in caught.value.cause
    assert "secret" not in str(caught.value)
    assert all(request.headers.get("Authorization") != expected for request in registry.requests)


def test_a_token_server_that_redirects_elsewhere_takes_no_login_along() -> None:
    with ScriptedServer(lambda _: Answer(200, b'{"token": "t"}')) as elsewhere:

        def answer(request: Request) -> Answer:
            if request.path.startswith("/token"):
                return Answer(307, headers={"Location": f"http://localhost:{elsewhere.port}/token"})
            if request.headers.get("Authorization") == "Bearer t":
                return Answer(200, b"{}")
            return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{registry.address}/token"'})

        with ScriptedServer(answer) as registry:
            assert repository(registry.address, ("me", "secret")).read_manifest("latest")[0] == b"{}"
        assert "Authorization" in next(one for one in registry.requests if "token" in one.path).headers
        assert all("Authorization" not in one.headers for one in elsewhere.requests)
