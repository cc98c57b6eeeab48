"""Private images: logins from AWS Secrets Manager and Amazon ECR, with a real registry and token servers."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers import aws
from containers.errors import ExplainedError
from containers.patience import ServerPatience
from containers.registry import mirrors
from containers.registry.credentials import credentials_for
from containers.store import ImageSource, RootFilesystem, prepare_image, rootfs
from tests.oci_images import File, Image, push, tar_of
from tests.registry_server import REGISTRY_PROGRAM, Answer, Request, ScriptedServer, real_registry

PASSWORD = "correct horse"
BCRYPT = "$2b$04$6G0/kD0HsI8pLe8cVT3gSu14tyXcUhQuGGLZZB8vTC06EBNqYzysa"
HELLO = Image([tar_of([File("hello", b"one")])])
ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "_resolved", {})
    monkeypatch.setattr(
        mirrors, "REGISTRY_PATIENCE", ServerPatience(timeout_s=10, attempts=2, first_pause_s=0.01)
    )


class Aws(ScriptedServer):
    """Secrets Manager and ECR, which know what `secrets` and `token` hold."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.token: str | None = None
        super().__init__(self._answer)

    def _answer(self, request: Request) -> Answer:
        action = request.headers["X-Amz-Target"].rpartition(".")[2]
        if action == "GetSecretValue":
            name = json.loads(request.body)["SecretId"]
            if name in self.secrets:
                return self._json({"Name": name, "SecretString": self.secrets[name]})
            return self._json({"__type": "ResourceNotFoundException"}, 400)
        assert action == "GetAuthorizationToken"
        if self.token is None:
            return self._json({"__type": "AccessDeniedException"}, 400)
        return self._json({"authorizationData": [{"authorizationToken": self.token}]})

    @staticmethod
    def _json(content: object, status: int = 200) -> Answer:
        return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/x-amz-json-1.1"})


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    with Aws() as server:
        assert isinstance(server, Aws)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"test{server.port}")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield server
    aws._client.cache_clear()


@pytest.fixture(scope="module")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if REGISTRY_PROGRAM is None:
        pytest.skip("docker-registry is not installed")
    with real_registry(tmp_path_factory.mktemp("registry"), htpasswd=f"me:{BCRYPT}\n") as address:
        push(address.replace("//", f"//me:{PASSWORD}@"), "some/image", "latest", HELLO)
        yield address.removeprefix("http://")


def pull(tmp_path: Path, name: str, credentials: str | None, mirrors: str = "") -> RootFilesystem:
    source = ImageSource.registry(name)
    with prepare_image(
        source,
        store=tmp_path / "store",
        mirrors=mirrors,
        architecture="amd64",
        registry_credentials=credentials,
    ) as root:
        return root


def failing(tmp_path: Path, name: str, credentials: str | None, mirrors: str = "") -> ExplainedError:
    with pytest.raises(ExplainedError) as caught:
        pull(tmp_path, name, credentials, mirrors)
    return caught.value


def login(password: str = PASSWORD) -> str:
    return json.dumps({"username": "me", "password": password})


def test_a_private_image_is_pulled_with_the_login_of_the_secret(
    tmp_path: Path, private_registry: str, amazon: Aws
) -> None:
    amazon.secrets["login"] = login()
    root = pull(tmp_path, f"{private_registry}/some/image", "login")
    assert (root.path / "hello").read_bytes() == b"one"


def test_without_a_secret_the_error_names_the_key(tmp_path: Path, private_registry: str) -> None:
    error = failing(tmp_path, f"{private_registry}/some/image", None)
    assert error.kind == "ImagePrivate"
    assert "container.registry_credentials" in error.advice


def test_a_wrong_password_is_told_and_never_shown_and_a_new_one_is_read_at_once(
    tmp_path: Path, private_registry: str, amazon: Aws, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    amazon.secrets["login"] = login("not the password")
    error = failing(tmp_path, f"{private_registry}/some/image", "login")
    assert error.kind == "ImagePrivate"
    assert "with the given credentials" in error.cause
    assert "not the password" not in str(error)
    amazon.secrets["login"] = login()
    assert pull(tmp_path, f"{private_registry}/some/image", "login").bytes_downloaded > 0


def test_a_public_image_asks_for_no_secret(tmp_path: Path, amazon: Aws) -> None:
    if REGISTRY_PROGRAM is None:
        pytest.skip("docker-registry is not installed")
    folder = tmp_path / "registry"
    folder.mkdir()
    with real_registry(folder) as address:
        push(address, "a", "latest", HELLO)
        pull(tmp_path, f"{address.removeprefix('http://')}/a", "login")
    assert amazon.requests == []


def test_the_token_server_is_given_the_login_and_no_mirror_is(tmp_path: Path, amazon: Aws) -> None:
    amazon.secrets["login"] = login()
    expected = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    manifest, config, (layer,) = HELLO.blobs()
    by_name = {"latest": manifest} | {
        descriptor["digest"]: content
        for descriptor, content in zip(
            (json.loads(manifest)["config"], *json.loads(manifest)["layers"]), (config, layer), strict=True
        )
    }

    def answer(request: Request) -> Answer:
        if request.path.startswith("/token"):
            if request.headers.get("Authorization") != expected:
                return Answer(401)
            return Answer(200, b'{"token": "granted"}')
        if request.headers.get("Authorization") != "Bearer granted":
            return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{registry.address}/token"'})
        return Answer(200, by_name[request.path.rpartition("/")[2]])

    challenge = Answer(401, headers={"WWW-Authenticate": 'Basic realm="give me your password"'})
    with ScriptedServer(answer) as registry, ScriptedServer(lambda _: challenge) as mirror:
        host = registry.address.removeprefix("http://")
        root = pull(tmp_path, f"{host}/some/image", "login", f"{host}={mirror.address}")
        assert (root.path / "hello").exists()
        assert len(mirror.requests) == 1
        assert all("Authorization" not in request.headers for request in mirror.requests)
    assert len(amazon.requests) == 1


@pytest.mark.parametrize(
    "text",
    [
        "just a password",
        "[]",
        "{}",
        '{"username": "me"}',
        '{"username": "", "password": "x"}',
        '{"username": "a:b", "password": "x"}',
        '{"username": 3, "password": "x"}',
        "[" * 100_000,
    ],
)
def test_a_secret_of_another_form_is_told_and_not_shown(amazon: Aws, text: str) -> None:
    amazon.secrets["login"] = text
    with pytest.raises(ExplainedError) as caught:
        credentials_for("login")("registry.example.org")
    assert caught.value.kind == "SecretUnavailable"
    assert "container.registry_credentials" in str(caught.value)
    assert "just a password" not in str(caught.value)


def test_a_secret_that_does_not_exist_is_named(amazon: Aws) -> None:
    with pytest.raises(ExplainedError) as caught:
        credentials_for("missing")("registry.example.org")
    assert "missing" in caught.value.cause
    assert "does not exist" in caught.value.cause


def test_ecr_gives_a_login_to_the_role_of_the_function(amazon: Aws) -> None:
    amazon.token = base64.b64encode(b"AWS:for:twelve:hours").decode()
    assert credentials_for(None)(ECR) == ("AWS", "for:twelve:hours")
    assert "/eu-west-1/ecr/" in amazon.requests[0].headers["Authorization"]  # of the registry's own region


def test_ecr_that_refuses_says_which_rights_are_needed(amazon: Aws) -> None:
    with pytest.raises(ExplainedError) as caught:
        credentials_for(None)(ECR)
    assert caught.value.kind == "ImagePrivate"
    assert "ecr:GetAuthorizationToken" in caught.value.advice
    assert "for the function's role" in caught.value.advice


@pytest.mark.parametrize("token", ["", "!", "/w=="])
def test_ecr_that_answers_nonsense_is_an_error(amazon: Aws, token: str) -> None:
    amazon.token = token
    try:
        assert credentials_for(None)(ECR) == ("", "")
    except ExplainedError as error:
        assert error.kind == "RegistryUnavailable"


@pytest.mark.parametrize(
    "host",
    ["registry-1.docker.io", f"{ECR}.evil.example", f"evil.example/{ECR}", f"x.{ECR}", "public.ecr.aws"],
)
def test_no_other_host_is_taken_for_ecr(amazon: Aws, host: str) -> None:
    assert credentials_for(None)(host) is None
    assert amazon.requests == []
