"""The real pip-audit and npm, against advisories that a server on loopback publishes."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from tests import vulnerabilities
from tests.registry_server import Answer, Request, ScriptedServer
from tests.vulnerabilities import TOOLCHAIN, NoAnswer, accepted, of_npm, of_python, rejected

ADVISORY = {
    "id": "GHSA-0000",
    "aliases": ["CVE-2020-1"],
    "summary": "It is broken",
    "details": "It is broken",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "old"},
            "versions": ["1.0"],
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


def osv(request: Request) -> Answer:
    """OSV's API, which pip-audit can be pointed at."""
    name = json.loads(request.body)["package"]["name"]
    return Answer(200, json.dumps({"vulns": [ADVISORY]} if name == "old" else {}).encode())


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    file = tmp_path / "requirements.txt"
    file.write_text("fine==1.0\nold==1.0\n")
    return file


def test_vulnerable_pin_is_found_and_can_be_accepted(requirements: Path) -> None:
    with ScriptedServer(osv) as server:
        (found,) = of_python([requirements], "--vulnerability-service", "osv", "--osv-url", server.address)
    assert found.package == "old 1.0"
    assert "fixed in 1.1" in found.told
    assert rejected([found], {}) == [found]
    assert rejected([found], {"CVE-2020-1": "never called"}) == []


def test_pins_without_vulnerabilities_pass(requirements: Path) -> None:
    requirements.write_text("fine==1.0\n")
    with ScriptedServer(osv) as server:
        assert of_python([requirements], "-s", "osv", "--osv-url", server.address) == []


def test_service_that_does_not_answer_is_no_finding(requirements: Path) -> None:
    with ScriptedServer(lambda _request: Answer(404)) as server:
        address = server.address
        with pytest.raises(NoAnswer):
            of_python([requirements], "-s", "osv", "--osv-url", address)
    with pytest.raises(NoAnswer):  # nobody listens there any more
        of_python([requirements], "-s", "osv", "--osv-url", address)


def npm_registry(request: Request) -> Answer:
    if request.path.endswith("/advisories/bulk"):
        about = {"id": 1, "url": "https://github.com/advisories/GHSA-1", "title": "It is broken"}
        more = {"severity": "high", "vulnerable_versions": "*"}
        return Answer(200, json.dumps({"aws-cdk": [about | more]}).encode())
    return Answer(404, b"{}")


def test_npm_finds_a_vulnerable_package_of_the_lock_file() -> None:
    with ScriptedServer(npm_registry) as server:
        (found,) = of_npm(TOOLCHAIN, f"--registry={server.address}")
    assert found.package == "aws-cdk"
    assert found.names == {"GHSA-1", "1"}


def test_npm_registry_without_the_audit_endpoint_is_no_finding() -> None:
    with ScriptedServer(lambda _request: Answer(405)) as server, pytest.raises(NoAnswer):
        of_npm(TOOLCHAIN, f"--registry={server.address}")


def test_what_was_accepted_is_accepted_until_its_day() -> None:
    text = "# comment\n\nGHSA-1 2026-12-01 only with XML\n"
    assert accepted(text, datetime.date(2026, 12, 1)) == {"GHSA-1": "only with XML"}
    assert accepted(text, datetime.date(2026, 12, 2)) == {}


def test_check_says_what_it_skips_and_fails_for_what_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(npm_registry) as server:
        monkeypatch.setenv("npm_config_registry", server.address)
        monkeypatch.setattr(vulnerabilities, "_REQUIREMENTS", ("no-such-file.txt",))
        monkeypatch.setattr(vulnerabilities, "_require_answer", _no_answer)
        assert vulnerabilities.main() == 1
    said = capsys.readouterr().out
    assert "pip-audit: skipped: the registry does not answer audits (no network)" in said
    assert "npm audit: 1 known vulnerabilities, 0 accepted\n  aws-cdk: 1, GHSA-1" in said


def _no_answer(*_: object) -> None:
    raise NoAnswer("no network")
