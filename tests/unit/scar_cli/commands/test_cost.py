"""`scar cost`: what it prints, and what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scar_cli.commands import cost
from scar_cli.errors import UserError

FDL = """functions:
  aws:
  - lambda:
      name: thumbs
      memory: 512
      container: {image: busybox}
      input: [{storage_provider: s3, path: bucket/in}]
      output: [{storage_provider: s3, path: bucket/out}]
"""


@pytest.fixture(autouse=True)
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "w.yaml").write_text(FDL)


def run(*words: str) -> Result:
    return CliRunner().invoke(cost.command, words, catch_exceptions=False)


def refused(*words: str) -> str:
    with pytest.raises(UserError) as error:
        CliRunner().invoke(cost.command, words, catch_exceptions=False, standalone_mode=False)
    return str(error.value)


def test_an_estimate_shows_places_items_and_the_idle_price() -> None:
    done = run("w.yaml", "--files", "10000", "--seconds", "12", "--size", "1MB")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "w.yaml: 10,000 files of 1 MB, 12 s each. USD, list prices without the free tier."
    assert lines[2].split() == ["thumbs", "(us-east-1)", "1,000", "FILES", "10,000", "FILES"]
    assert lines[3].split() == ["lambda", "x86,", "512", "MB", "0.1559", "1.56", "as", "it", "is"]
    assert "Lambda compute (x86)      60,000 GB-second    1.00" in done.stdout
    assert "cheapest" in done.stdout
    assert lines[-1] == "While nothing runs: 0.0466 USD a month, with 1 image in ECR."
    assert done.stderr == ""


def test_the_region_comes_from_the_option_the_environment_and_the_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-2")
    assert "thumbs (eu-west-2)" in run("w.yaml", "--seconds", "1").stdout
    done = run("-f", "w.yaml", "--seconds", "1", "--region", "sa-east-1")
    assert "thumbs (sa-east-1)" in done.stdout
    assert done.stderr == (
        "Not included, because the table has no price for sa-east-1: Custom metrics, ECR storage. "
        "To download the prices: scar cost --prices --region sa-east-1\n"
    )
    Path("w.yaml").write_text(FDL.replace("memory: 512", "memory: 512\n      region: ap-south-1"))
    assert "thumbs (ap-south-1)" in run("w.yaml", "--seconds", "1").stdout


def test_metrics_the_dashboard_and_alarms_depend_on_the_context() -> None:
    done = run(
        "w.yaml", "--seconds", "1", "-c", "metrics=false", "-c", "dashboard=true", "-c", "alarm_email=a@b.org"
    )
    assert "Custom metrics" not in done.stdout
    # 0.0466 for the image, 3 for the dashboard, and 5 alarm metrics.
    assert done.stdout.splitlines()[-1].startswith("While nothing runs: 3.55 USD a month")
    assert "Custom metrics" in run("w.yaml", "--seconds", "1").stdout
    assert refused("w.yaml", "--seconds", "1", "-c", "metrics").startswith(
        "Invalid context value: -c metrics"
    )


def test_a_place_without_a_price_has_no_items() -> None:
    fdl = FDL.replace("memory: 512", "execution_mode: batch")
    fdl += "    batch: {vcpus: 1, memory: 1024, compute_resources: {type: EC2, instance_types: [x1e]}}\n"
    Path("w.yaml").write_text(fdl)
    done = run("w.yaml", "--seconds", "1")
    assert "as it is; no price in the table: EC2 x1e" in done.stdout
    assert "AS IT IS" not in done.stdout
    (function,) = json.loads(run("w.yaml", "--seconds", "1", "--json").stdout)["functions"]
    assert function["usd"] is function["usd_per_1000_files"] is None


def test_each_region_of_a_workflow_has_its_own_idle_price() -> None:
    second = FDL.partition("  aws:\n")[2].replace("thumbs", "more").replace("bucket", "other")
    Path("w.yaml").write_text(FDL + second.replace("memory: 512", "region: sa-east-1"))
    done = run("w.yaml", "--seconds", "1")
    assert "While nothing runs: 0.0466 USD a month, with 2 images in ECR." in done.stdout
    assert "no price for sa-east-1: Custom metrics, ECR storage." in done.stderr
    idle = json.loads(run("w.yaml", "--seconds", "1", "-c", "dashboard=true", "--json").stdout)["idle"]
    assert [item["item"] for item in idle["items"]].count("Dashboard") == 1, "only the stack has one"
    idle = json.loads(run("w.yaml", "--seconds", "1", "--json").stdout)["idle"]
    assert [(item["region"], item["usd"] is None) for item in idle["items"]] == [
        ("us-east-1", False),
        ("sa-east-1", True),
    ]


def test_json_names_the_source_of_each_price() -> None:
    done = run("w.yaml", "--seconds", "12", "--json")
    told = json.loads(done.stdout)
    assert told["free_tier"] is False
    (function,) = told["functions"]
    assert function["usd"] == pytest.approx(sum(item["usd"] for item in function["items"]))
    for item in function["items"]:
        assert item["usd"] == pytest.approx(item["quantity"] * item["price"])
        assert item["date"].startswith("20")
        assert item["source"]
    assert [one["where"] for one in function["options"] if one["cheapest"]] == ["SPOT, 1 vCPU, 512 MB"]
    assert told["idle"]["usd_per_month"] == pytest.approx(0.0466, rel=0.01)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "No FDL file to estimate. Specify one: scar cost FILE --files 1000 --seconds 10."),
        (("w.yaml",), "The duration of a run is unknown. Specify it: --seconds 10. "),
        (
            ("w.yaml", "--seconds", "1", "--size", "5 apples"),
            "Invalid size: '5 apples'. Use, for example, 500KB",
        ),
        (("w.yaml", "--seconds", "1", "-n", "g"), "There is no function g in w.yaml. Its functions: thumbs."),
        (
            ("w.yaml", "--seconds", "1", "--region", "eu-north-1"),
            "The table has no prices for the region eu-north-1",
        ),
    ],
)
def test_what_is_missing_is_an_error(words: tuple[str, ...], error: str) -> None:
    assert refused(*words).startswith(error)


def test_a_damaged_downloaded_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache" / "scar-cdk").mkdir(parents=True)
    (tmp_path / "cache" / "scar-cdk" / "prices.json").write_text("{}")
    assert "cannot be read: it is damaged. Delete the file" in refused("w.yaml", "--seconds", "1")


@pytest.mark.parametrize(
    ("text", "size"),
    [("5MB", 5_000_000), ("5MiB", 5_242_880), ("0.5 gb", 500_000_000), ("100", 100), ("1K", 1000), ("7b", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert cost.bytes_of(text) == size
