"""SARIF 2.1.0, as code hosts read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema

from fdl_schemas.diagnostics.codes import explanations
from fdl_schemas.diagnostics.diagnostic import Diagnostic, Severity, address
from fdl_schemas.diagnostics.sarif import sarif

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
URI = {"type": "string", "pattern": "^[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+$"}
# What the specification requires of the parts that are used here, and that there are no others.
SHAPE = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": URI,
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "required": ["tool", "results"],
                "additionalProperties": False,
                "properties": {
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "required": ["name"],
                                "properties": {
                                    "rules": {
                                        "uniqueItems": True,
                                        "items": {
                                            "required": ["id"],
                                            "properties": {
                                                "shortDescription": TEXT,
                                                "fullDescription": TEXT,
                                                "help": TEXT,
                                                "helpUri": {**URI, "pattern": "^[a-z]+:/"},
                                                "defaultConfiguration": {
                                                    "properties": {"level": {"enum": ["error", "warning"]}}
                                                },
                                            },
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "originalUriBaseIds": {"type": "object"},
                    "results": {
                        "items": {
                            "required": ["message", "ruleId", "ruleIndex", "level", "locations"],
                            "properties": {
                                "message": TEXT,
                                "level": {"enum": ["error", "warning"]},
                                "locations": {
                                    "minItems": 1,
                                    "items": {
                                        "properties": {
                                            "physicalLocation": {
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "artifactLocation": {"properties": {"uri": URI}},
                                                    "region": {
                                                        "required": ["startLine", "startColumn", "endColumn"],
                                                        "additionalProperties": {
                                                            "type": "integer",
                                                            "minimum": 1,
                                                        },
                                                    },
                                                },
                                            }
                                        }
                                    },
                                },
                            },
                        }
                    },
                },
            },
        },
    },
}


def log_of(*diagnostics: Diagnostic, folder: Path) -> Any:
    log = sarif(diagnostics, folder=folder, version="1.2.3")
    jsonschema.Draft202012Validator(SHAPE).validate(log)
    return log["runs"][0]


def test_every_code_makes_a_log_of_the_right_shape(tmp_path: Path) -> None:
    run = log_of(*(Diagnostic(code, "m", "w.yaml") for code in explanations()), folder=tmp_path)
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(explanations())
    assert all(rule["helpUri"] == address(rule["id"]) for rule in run["tool"]["driver"]["rules"])


def test_region_ends_after_the_last_character(tmp_path: Path) -> None:
    found = Diagnostic(
        "FDL012", "wrong", "w.yaml", 5, 15, 6, 'memory: "1024"', "a number", "remove the quotes"
    )
    (result,) = log_of(found, folder=tmp_path)["results"]
    assert result["locations"][0]["physicalLocation"]["region"] == {
        "startLine": 5,
        "startColumn": 15,
        "endLine": 5,
        "endColumn": 21,
    }
    assert result["message"]["text"] == "wrong. Expected: a number. Help: remove the quotes."
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("FDL012", 0, "error")


def test_file_without_a_place_has_no_region(tmp_path: Path) -> None:
    (result,) = log_of(Diagnostic("FDL006", "empty", "w.yaml"), folder=tmp_path)["results"]
    assert "region" not in result["locations"][0]["physicalLocation"]


def where(file: str, folder: Path) -> Any:
    (result,) = log_of(Diagnostic("FDL006", "empty", file), folder=folder)["results"]
    return result["locations"][0]["physicalLocation"]["artifactLocation"]


def test_paths_are_relative_to_the_folder_and_escaped(tmp_path: Path) -> None:
    inside = {"uri": "flows/my%20flow%C3%A9.yaml", "uriBaseId": "SRCROOT"}
    assert where("flows/my flow\u00e9.yaml", tmp_path) == inside
    assert where(str(tmp_path / "flows/my flow\u00e9.yaml"), tmp_path) == inside
    assert where("x/../w.yaml", tmp_path) == {"uri": "w.yaml", "uriBaseId": "SRCROOT"}


def test_paths_elsewhere_are_whole_addresses(tmp_path: Path) -> None:
    assert where("/elsewhere/w.yaml", tmp_path) == {"uri": "file:///elsewhere/w.yaml"}


def test_path_that_no_file_can_have_is_no_traceback(tmp_path: Path) -> None:
    assert where("a\0b", tmp_path)["uri"].endswith("a%00b")
    assert where("a\udc80b", tmp_path)["uri"].endswith("b")


def test_each_rule_once_however_often_it_is_broken(tmp_path: Path) -> None:
    found = [Diagnostic("FDL050", "a", "w", severity=Severity.WARNING), Diagnostic("FDL012", "b", "w")]
    run = log_of(*found, *found, folder=tmp_path)
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["FDL012", "FDL050"]
    assert [result["ruleIndex"] for result in run["results"]] == [1, 0, 1, 0]
    assert run["results"][0]["level"] == "warning"


def test_log_says_nothing_about_the_machine(tmp_path: Path) -> None:
    run = log_of(Diagnostic("FDL006", "empty", "w.yaml"), folder=tmp_path)
    assert str(tmp_path) not in str({**run, "tool": None})
