"""Each rule of the language: an invalid file, and the exact diagnostics that users see.

The cases are in `diagnostics/CODE.md`, and the mistakes of beginners in `mistakes.md`: a YAML block and the
resulting text. After a change of wording, run
`UPDATE_FDL_DIAGNOSTICS=1 pytest tests/unit/fdl_schemas/test_diagnostics.py`, and review the diff.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from fdl_schemas.diagnostics.codes import explanations
from fdl_schemas.diagnostics.diagnostic import (
    LONGEST_TEXT,
    Diagnostic,
    FdlError,
    Severity,
    in_order,
    printable,
    render,
)
from fdl_schemas.load import check, check_text, load_workflow
from fdl_schemas.reading.findings import MOST
from tests.oci_images import Image, docker_save

CASES = Path(__file__).with_name("diagnostics")
MISTAKES = Path(__file__).with_name("mistakes.md")
BLOCK = re.compile(
    r"^## (?P<name>.+)\n\n```yaml\n(?P<fdl>(?:.*\n)*?)```\n\n```text\n(?P<text>(?:.*\n)*?)```\n", re.MULTILINE
)
TESTED_BELOW = {"FDL001", "FDL002"}


@dataclass(frozen=True)
class Case:
    file: Path
    code: str
    name: str
    fdl: str
    text: str


def all_cases() -> list[Case]:
    return [
        Case(
            file,
            file.stem if file != MISTAKES else code_in(found["text"]),
            *found.group("name", "fdl", "text"),
        )
        for file in [*sorted(CASES.glob("*.md")), MISTAKES]
        for found in BLOCK.finditer(file.read_text(encoding="utf-8"))
    ]


def code_in(text: str) -> str:
    found = re.search(r"FDL[0-9]{3}", text)
    return found[0] if found else ""


def said_about(fdl: str, folder: Path) -> str:
    """The diagnostics of a file `workflow.yaml` beside `s.sh`, an archive `i.tar` and a folder `models`."""
    (folder / "s.sh").write_text("#!/bin/sh\n")
    docker_save(folder / "i.tar", Image([]))
    (folder / "models").mkdir(exist_ok=True)
    file = folder / "workflow.yaml"
    file.write_text(fdl, encoding="utf-8")
    return render(check(file).diagnostics).replace(f"{folder}/", "") + "\n"


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: f"{case.code}: {case.name}")
def test_bad_file_gets_exactly_this_text(case: Case, tmp_path: Path) -> None:
    said = said_about(case.fdl, tmp_path)
    if os.environ.get("UPDATE_FDL_DIAGNOSTICS"):
        assert "PYTEST_XDIST_WORKER" not in os.environ, "use one process: several overwrite the file"
        old = f"## {case.name}\n\n```yaml\n{case.fdl}```\n\n```text\n{case.text}```\n"
        new = old.replace(f"```text\n{case.text}```", f"```text\n{said}```")
        case.file.write_text(case.file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        return
    assert said == case.text
    assert re.search(rf"^workflow.yaml(:\d+:\d+)?: (error|warning) {case.code}: ", said, re.MULTILINE)


def test_every_code_has_a_case() -> None:
    assert {case.code for case in all_cases()} | TESTED_BELOW == explanations().keys()


def only_problem(path: Path) -> Diagnostic:
    result = check(path)
    assert result.workflow is None
    assert len(result.diagnostics) == 1
    return result.diagnostics[0]


def test_missing_file_is_a_diagnostic(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    assert only_problem(file).render() == (
        f"{file}: error FDL001: cannot read the file: it does not exist\n"
        "  help: check the path; it is relative to the current folder\n"
        "  see https://scar-cdk.readthedocs.io/latest/diagnostics/fdl001/"
    )


def test_folder_instead_of_a_file_is_a_diagnostic(tmp_path: Path) -> None:
    assert only_problem(tmp_path).message == "cannot read the file: it is a folder"


def test_loop_of_symbolic_links_is_a_diagnostic(tmp_path: Path) -> None:
    link = tmp_path / "loop.yaml"
    link.symlink_to(link)
    found = only_problem(link)
    assert found.code == "FDL001"
    assert found.line is None


def test_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    assert only_problem(pipe).message == "cannot read the file: it is not a regular file"


def test_path_with_nul_or_too_long_is_a_diagnostic(tmp_path: Path) -> None:
    assert only_problem(tmp_path / "a\0b").code == "FDL001"
    assert only_problem(tmp_path / ("x" * 300)).code == "FDL001"


@pytest.mark.usefixtures("modes_count")
def test_unreadable_file_is_a_diagnostic(tmp_path: Path) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text("functions:\n")
    file.chmod(0)
    assert only_problem(file).message == "cannot read the file: permission denied"


def test_latin1_is_shown_at_the_byte_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_bytes("functions:\n  aws: # caf\u00e9\n".encode("latin-1"))
    assert only_problem(file).render() == (
        f"{file}:2:13: error FDL002: the file is not UTF-8: byte 0xe9 is invalid here\n"
        "      aws: # caf\N{REPLACEMENT CHARACTER}\n"
        "                ^\n"
        "  expected: UTF-8 text\n"
        "  help: save the file as UTF-8 text\n"
        "  see https://scar-cdk.readthedocs.io/latest/diagnostics/fdl002/"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("functions:\n".encode("utf-16"), "the file is UTF-16, not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "the file is binary, not text"),
    ],
)
def test_other_encodings_and_pictures_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_bytes(content)
    found = only_problem(file)
    assert (found.code, found.message) == ("FDL002", message)


def test_a_similar_file_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "workflow.yaml").touch()
    for name in ("Workflow.yaml", "workflow.yml", "worklfow.yaml"):
        assert only_problem(tmp_path / name).help == f"did you mean `{tmp_path}/workflow.yaml`?"
    assert only_problem(tmp_path).help == f"did you mean `{tmp_path}/workflow.yaml`?"


def test_line_endings_of_windows_do_not_move_the_caret() -> None:
    fdl = "\ufefffunctions:\n  aws:\n  - lambda:\n      name: my function\n      container: {image: a}\n"
    (found,) = check_text(fdl.replace("\n", "\r\n").encode(), "w.yaml").diagnostics
    assert (found.code, found.line, found.column, found.length) == ("FDL016", 4, 13, len("my function"))
    assert found.source_line == "      name: my function"


def test_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_bytes(b"\xef\xbb\xbffunctions:\n  aws: 1\n")
    assert only_problem(file).code == "FDL012"


def test_ten_megabytes_are_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_bytes(b"# " + b"x" * 10_000_000)
    assert only_problem(file).code == "FDL003"


def test_name_of_a_script_may_be_longer_than_the_file_system_allows(tmp_path: Path) -> None:
    function = f"{{name: f, init_script: {'x' * 300}, container: {{image: a}}}}"
    fdl = f"functions:\n  aws:\n  - lambda: {function}\n"
    assert "FDL022: `init_script` `xxxx" in said_about(fdl, tmp_path)


def test_control_characters_of_the_file_never_reach_the_terminal(tmp_path: Path) -> None:
    said = said_about('functions: {aws: [{lambda: {name: "\\e]0;owned\\a", "\\u202Eevil": 1}}]}\n', tmp_path)
    assert "FDL011" in said
    assert said.replace("\n", "").isprintable()
    assert "\N{REPLACEMENT CHARACTER}" in said


def test_all_problems_come_at_once_errors_first(tmp_path: Path) -> None:
    fdl = """\
functions:
  aws:
  - lambda:
      boto_profile: default
      name: resize
      memory: "1024"
      init_script: nowhere.sh
      container:
        imag: grycap/imagemagick
      input:
      - path: Bad/Bucket
"""
    (tmp_path / "w.yaml").write_text(fdl)
    found = [(one.severity, one.code, one.line) for one in check(tmp_path / "w.yaml").diagnostics]
    assert found == [
        (Severity.ERROR, "FDL012", 6),
        (Severity.ERROR, "FDL011", 9),
        (Severity.ERROR, "FDL022", 7),
        (Severity.ERROR, "FDL026", 11),
        (Severity.WARNING, "FDL050", 4),
    ]


def test_mistake_under_an_anchor_is_said_once(tmp_path: Path) -> None:
    fdl = """\
functions:
  aws:
  - lambda:
      name: a
      container: &c {image: a, alpine: maybe}
  - lambda: {name: b, container: *c}
  - lambda: {name: c, container: *c}
"""
    assert said_about(fdl, tmp_path).count("error FDL012") == 1


def test_long_line_is_cut_around_the_caret() -> None:
    line = "x" * 500 + "HERE" + "y" * 500
    shown = Diagnostic("FDL012", "m", "f", 1, 501, 4, line).render().splitlines()
    assert len(shown[1]) < 200
    assert shown[1][shown[2].index("^") : shown[2].rindex("^") + 1] == "HERE"


def test_caret_stands_below_wide_characters() -> None:
    shown = Diagnostic("FDL012", "m", "f", 1, 5, 1, "日本: x").render().splitlines()
    assert shown[2] == "    " + " " * 6 + "^"


def test_colours_only_when_asked() -> None:
    found = Diagnostic("FDL012", "m", "f", 1, 1, 1, "x", severity=Severity.WARNING)
    assert "\x1b" not in found.render()
    assert "\x1b[1;33mwarning FDL012:\x1b[0m" in found.render(color=True)


def test_only_the_first_of_very_many_are_shown() -> None:
    text = render([Diagnostic("FDL012", "m", "f")] * 60)
    assert text.endswith("… and 10 more\n\nFor explanations and examples, run: scar explain FDL012")


def test_warnings_come_last() -> None:
    warning = Diagnostic("FDL050", "w", "f", 1, 1, severity=Severity.WARNING)
    error = Diagnostic("FDL041", "e", "f", 9, 1)
    assert in_order([warning, error]) == (error, warning)


def test_code_outside_the_table_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="FDL999"):
        Diagnostic("FDL999", "m", "f")


def test_load_workflow_raises_what_check_says(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text("functions: 1\n")
    with pytest.raises(FdlError) as raised:
        load_workflow(file)
    assert raised.value.diagnostics == check(file).diagnostics
    assert raised.value.render() == render(raised.value.diagnostics) == str(raised.value)


def test_printable_keeps_what_people_write() -> None:
    assert printable("Größe 日本 🙂 a-b_c") == "Größe 日本 🙂 a-b_c"


@pytest.mark.parametrize("value", ["hunter2", "123456789", '"hunter2"', "[hunter2]"])
def test_no_secret_of_the_file_is_shown(value: str, tmp_path: Path) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text(
        "functions: {aws: [{lambda: {name: a, container: {image: x}}}]}\nstorage_providers:\n"
        f"  webdav:\n    lab: {{hostname: https://dav.example.org, login: me, password: {value}}}\n"
        f"    other:\n      hostname: https://dav.example.org\n      password: {value}\n"
    )
    text = render(check(file).diagnostics)
    assert "password" in text
    assert value.strip('"[]') not in text


OF_A_SPACE = "      oneprovider_host: p\n      space: s\n"

WRITTEN_WRONGLY = {
    "misspelt key": "  webdav:\n    w:\n      pasword: hunter2\n",
    "other name for it": "  webdav:\n    w:\n      passwd: hunter2\n",
    "other case": "  onedata:\n    w:\n      Token: hunter2\n",
    "names of AWS": "  s3:\n    w: {aws_access_key_id: hunter2, aws_secret_access_key: hunter2}\n",
    "hyphens": "  s3:\n    w: {access-key: hunter2, secret-key: hunter2}\n",
    "without a name": "  s3:\n    access_key: hunter2\n    secret_key: hunter2\n",
    "map on the next line": f"  onedata:\n    w:\n{OF_A_SPACE}      token:\n        hunter2: x\n",
    "list on the next lines": f"  onedata:\n    w:\n{OF_A_SPACE}      token:\n      - hunter2\n",
    "second entry of a list": f"  onedata:\n    w:\n{OF_A_SPACE}      token:\n      - x\n      - !hunter2\n",
    "quotes on the next line": "  onedata:\n    w:\n      token:\n        'hunter2\n",
    "starts like an alias": "  onedata:\n    w: {space: s, token: *hunter2}\n",
    "starts like a tag": "  onedata:\n    w: {space: s, token: !hunter2}\n",
    "no space after the colon": "  onedata:\n    w: token:hunter2\n",
    "no space after a colon in the middle": "  onedata:\n    w:\n      token:hunter2\n      space: s\n",
    "no colon": "  onedata:\n    w:\n      token hunter2\n      space: s\n",
    "typographic quotes": "  onedata:\n    w: {space: s, token: \u201chunter2\u201d}\n",
}


@pytest.mark.parametrize("providers", list(WRITTEN_WRONGLY.values()), ids=list(WRITTEN_WRONGLY))
def test_no_secret_is_shown_that_is_written_in_a_wrong_way(providers: str, tmp_path: Path) -> None:
    file = tmp_path / "secret.yaml"
    function = "functions: {aws: [{lambda: {name: a, container: {image: x}}}]}\n"
    file.write_text(f"{function}storage_providers:\n{providers}", encoding="utf-8")
    result = check(file)
    assert result.diagnostics
    assert "hunter2" not in repr(result.diagnostics)


def test_lines_near_a_secret_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "near.yaml"
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:login"
    file.write_text(
        "functions: {aws: [{lambda: {name: a, container: {image: x}}}]}\nstorage_providers:\n  webdav:\n"
        f"    w:\n      password:\n      lgin: me\n      hostnme: {arn}\n      user: '${{SECRET:login}}'\n"
    )
    shown = {found.source_line for found in check(file).diagnostics}
    assert {"      lgin: me", f"      hostnme: {arn}", "      user: '${SECRET:login}'"} <= shown


def test_of_very_many_mistakes_the_first_ones_of_the_file_are_found(tmp_path: Path) -> None:
    file = tmp_path / "many.yaml"
    variables = ", ".join(f"A{number}: 1" for number in range(1_000))
    file.write_text(
        "functions:\n  aws:\n  - lambda:\n      name: a\n      container: {image: a}\n"
        f"      environment: {{Variables: {{{variables}}}}}\n"
    )
    messages = [found.message for found in check(file).diagnostics]
    assert messages == [f"`A{number}` is a number, not a string" for number in range(MOST)]


@pytest.mark.parametrize(("letters", "fits"), [(6_100, True), (6_150, False)])
def test_environment_that_no_job_definition_holds_is_refused(
    letters: int, fits: bool, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(
        "functions:\n  aws:\n  - lambda:\n      name: a\n      container: {image: a}\n"
        "      execution_mode: batch\n"
        f"    batch:\n      environment:\n        Variables:\n          WORDS: {'é' * letters}\n",
        encoding="utf-8",
    )
    found = [(found.code, found.line) for found in check(file).diagnostics]
    assert found == ([] if fits else [("FDL031", 9)])


def test_the_environment_of_a_job_counts_together_with_the_functions(tmp_path: Path) -> None:
    def codes(of_function: int, of_job: int) -> list[str]:
        file = tmp_path / "job.yaml"
        file.write_text(
            "functions:\n  aws:\n  - lambda:\n      name: a\n      container: {image: a}\n"
            f"      execution_mode: batch\n      environment: {{Variables: {{ONE: {'x' * of_function}}}}}\n"
            f"    batch: {{environment: {{Variables: {{TWO: {'x' * of_job}}}}}}}\n"
        )
        return [found.code for found in check(file).diagnostics]

    assert codes(3_000, 9_000) == []
    assert codes(1, 11_500) == []
    assert codes(3_000, 11_500) == ["FDL031"]


@pytest.mark.parametrize(
    ("endpoint", "buckets", "fits"), [("", 45, True), ("", 46, False), ("e", 43, True), ("e", 44, False)]
)
def test_the_methods_of_an_http_endpoint_take_room_in_a_functions_policy(
    endpoint: str, buckets: int, fits: bool
) -> None:
    """20 KiB hold 45 statements of 451 characters each."""
    inputs = ", ".join(f"{{storage_provider: s3, path: bucket{number:02}/in}}" for number in range(buckets))
    api = "    api_gateway: {name: e}\n" if endpoint else ""
    text = (
        "functions:\n  aws:\n  - lambda:\n      name: f\n      container: {image: a}\n"
        f"      input: [{inputs}]\n{api}"
    )
    found = check_text(text.encode(), "w.yaml", called="w.yaml").diagnostics
    assert [one.code for one in found] == ([] if fits else ["FDL017"])


def test_a_wrong_size_of_a_job_is_one_mistake(tmp_path: Path) -> None:
    """The default of `max_v_cpus`, which is made from it, is none."""
    file = tmp_path / "job.yaml"
    file.write_text(
        "functions: {aws: [{lambda: {name: a, execution_mode: batch, container: {image: a}},"
        " batch: {vcpus: 2.5}}]}\n"
    )
    assert [found.code for found in check(file).diagnostics] == ["FDL033"]


def test_a_loop_through_very_many_functions_has_a_bounded_message() -> None:
    functions = "".join(
        f"  - lambda:\n      name: {'f' * 55}{n:03}\n      container: {{image: alpine}}\n"
        f"      input: [{{storage_provider: s3, path: bucket/{'x' * 200}{n:03}}}]\n"
        f"      output: [{{storage_provider: s3, path: bucket/{'x' * 200}{(n + 1) % 40:03}}}]\n"
        for n in range(40)
    )
    found = check_text(f"functions:\n  aws:\n{functions}".encode(), "w.yaml", called="w.yaml").diagnostics
    assert [one.code for one in found] == ["FDL020"]
    assert len(found[0].message) <= LONGEST_TEXT
    assert found[0].message.endswith("…")
