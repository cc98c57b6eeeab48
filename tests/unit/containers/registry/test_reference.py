from __future__ import annotations

import pytest

from containers.errors import ExplainedError
from containers.registry.mirrors import places_for
from containers.registry.references import parse_reference

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "registry", "repository", "version"),
    [
        ("debian", "docker.io", "library/debian", "latest"),
        ("grycap/ffmpeg", "docker.io", "grycap/ffmpeg", "latest"),
        ("docker.io/debian:12", "docker.io", "library/debian", "12"),
        ("index.docker.io/a/b", "docker.io", "a/b", "latest"),
        ("ghcr.io/a/b/c:v1.2-x", "ghcr.io", "a/b/c", "v1.2-x"),
        ("localhost/a", "localhost", "a", "latest"),
        ("localhost:5000/a:b", "localhost:5000", "a", "b"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b", "latest"),
        ("[::1]:5000/a", "[::1]:5000", "a", "latest"),
        ("registry.example.com/a", "registry.example.com", "a", "latest"),
        ("MyHost/a", "myhost", "a", "latest"),
        (f"debian@sha256:{HEX}", "docker.io", "library/debian", f"sha256:{HEX}"),
        (f"debian:12@sha256:{HEX}", "docker.io", "library/debian", f"sha256:{HEX}"),
        ("a__b/c--d.e", "docker.io", "a__b/c--d.e", "latest"),
    ],
)
def test_names_mean_what_docker_takes_them_for(
    text: str, registry: str, repository: str, version: str
) -> None:
    reference = parse_reference(text)
    assert (reference.registry, reference.repository, reference.version) == (registry, repository, version)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[:::]/a",
        "[1]:5000/a",
        "  ",
        "Debian",
        "a/B",
        "a:",
        "a:ta g",
        "a@sha256:123",
        "a@md5:123",
        "../x",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        "http://a/b",
        "a:" + "t" * 129,
        "x/" + "a" * 256,
        "host:port/a",
    ],
)
def test_names_that_docker_refuses_are_refused_with_advice(text: str) -> None:
    with pytest.raises(ExplainedError) as caught:
        parse_reference(text)
    assert caught.value.kind == "InvalidReference"
    assert "container.image" in caught.value.advice


def test_a_reference_prints_in_full() -> None:
    assert str(parse_reference("debian")) == "docker.io/library/debian:latest"
    assert str(parse_reference(f"debian@sha256:{HEX}")) == f"docker.io/library/debian@sha256:{HEX}"


@pytest.mark.parametrize(
    "base", ["http://[", "https://[::1", "http://host:port", "https://host:99999", "https://:80"]
)
def test_mirror_with_an_address_that_is_none_is_an_error(base: str) -> None:
    with pytest.raises(ExplainedError, match="invalid entry") as caught:
        places_for(parse_reference("debian"), f"docker.io={base}")
    assert caught.value.kind == "BadConfiguration"
