"""A function described by SCAR's flags instead of a file: the flags become an FDL document."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scar_cli.errors import UserError

if TYPE_CHECKING:
    from fdl_schemas.diagnostics.diagnostic import Diagnostic

_Command = TypeVar("_Command", bound=Callable[..., Any])

_WHOLE: Mapping[str, Any] = {"type": int}
_SEVERAL: Mapping[str, Any] = {"multiple": True}
_SWITCH: Mapping[str, Any] = {"is_flag": True}
_OPTIONS: tuple[tuple[str, str, str | None, str, Mapping[str, Any]], ...] = (
    ("-n", "--name", "FUNCTION", "Set the name of the function.", {}),
    ("-i", "--image", "IMAGE", "Use this image from a registry.", {}),
    ("-if", "--image-file", "FILE", "Use this image archive, as created by docker save.", {}),
    ("-s", "--init-script", "FILE", "Run this script in the container.", {}),
    ("-d", "--description", "TEXT", "Set the description of the function.", {}),
    ("-m", "--memory", "MIB", "Set the memory of the function.  [default: 512]", _WHOLE),
    ("-t", "--timeout", "SECONDS", "Set the timeout of the function.  [default: 300]", _WHOLE),
    ("-tt", "--timeout-threshold", "SECONDS", "Reserve time for uploading outputs.  [default: 10]", _WHOLE),
    (
        "-e",
        "--environment",
        "NAME=VALUE",
        "Set an environment variable of the container. Can be repeated.",
        _SEVERAL,
    ),
    (
        "-le",
        "--lambda-environment",
        "NAME=VALUE",
        "Set an environment variable of the function. Can be repeated.",
        _SEVERAL,
    ),
    ("-ib", "--input-bucket", "BUCKET/FOLDER", "Run for each file in this folder.", {}),
    ("-ob", "--output-bucket", "BUCKET/FOLDER", "Upload outputs to this folder.", {}),
    ("-em", "--execution-mode", "MODE", "Run in lambda, lambda-batch or batch.  [default: lambda]", {}),
    ("-bm", "--batch-memory", "MIB", "Set the memory of Batch jobs.  [default: 1024]", _WHOLE),
    ("-bc", "--batch-vcpus", "N", "Set the vCPUs of Batch jobs.  [default: 1]", {"type": float}),
    ("-g", "--enable-gpu", None, "Request a GPU for Batch jobs.", _SWITCH),
    ("-r", "--iam-role", "ARN", "Use an existing role.", {}),
    ("-l", "--layers", "ARN", "Add a Lambda layer. Can be repeated.", _SEVERAL),
    ("-ll", "--log-level", "LEVEL", "Set the log level.  [default: INFO]", {}),
    ("-ep", "--extra-payload", "PATH", "Package this file or folder with the function.", {}),
    ("-db", "--deployment-bucket", "BUCKET", "Copy the image archive to this bucket.", {}),
    ("-api", "--api-gateway-name", "NAME", "Create an HTTP endpoint with this name.", {}),
    ("-rt", "--runtime", "NAME", "Use python3.13 to pull the image at run time.  [default: image]", {}),
    ("-sv", "--supervisor-version", "TAG", "Ignored: the runner is part of scar.", {}),
    ("-ph", "--preheat", None, "Invoke the function once after the deployment.", _SWITCH),
)
"""Short and long name, metavar, help, and further settings of each flag."""
_VALUES = ("description", "memory", "timeout", "execution_mode", "log_level", "preheat", "runtime")
_PATHS = ("init_script", "extra_payload")
_FLAGS = {
    "lambda.name": "-n",
    "lambda.description": "-d",
    "lambda.memory": "-m",
    "lambda.timeout": "-t",
    "lambda.execution_mode": "-em",
    "lambda.log_level": "-ll",
    "lambda.preheat": "-ph",
    "lambda.runtime": "-rt",
    "lambda.init_script": "-s",
    "lambda.extra_payload": "-ep",
    "lambda.layers": "-l",
    "lambda.environment": "-le",
    "lambda.supervisor": "-sv",
    "lambda.deployment": "-db",
    "lambda.input": "-ib",
    "lambda.output": "-ob",
    "lambda.container.image": "-i",
    "lambda.container.image_file": "-if",
    "lambda.container.environment": "-e",
    "lambda.container.timeout_threshold": "-tt",
    "iam.role": "-r",
    "api_gateway.name": "-api",
    "batch.memory": "-bm",
    "batch.vcpus": "-bc",
    "batch.enable_gpu": "-g",
}
"""The flag that a key of the document comes from."""


def describes_function(command: _Command) -> _Command:
    """Add the flags that `fdl_of` takes."""
    for short, long, metavar, text, more in reversed(_OPTIONS):
        command = click.option(short, long, metavar=metavar, help=text, **more)(command)
    return command


class InSections(click.Command):
    """A command whose help lists the flags that describe a function on their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write all other options first."""
        described = {short for short, *_others in _OPTIONS}
        sections: dict[bool, list[tuple[str, str]]] = {False: [], True: []}
        for option in self.get_params(ctx):
            record = option.get_help_record(ctx)
            if record is not None:
                sections[option.opts[0] in described].append(record)
        for is_description, title in ((False, "Options"), (True, "One function, without a file")):
            with formatter.section(title):
                formatter.write_dl(sections[is_description])


def given(flags: Mapping[str, Any]) -> list[str]:
    """Names of the flags that were given."""
    return [name for name, value in flags.items() if value not in (None, (), False)]


def fdl_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The FDL document of the function that the flags describe.

    Raises:
        UserError: a flag is missing or invalid.
    """
    images = [name for name in ("image", "image_file") if flags[name]]
    if not flags["name"] or len(images) != 1:
        raise UserError(
            "Nothing to deploy",
            "Use -f FILE for an FDL file, or -n NAME and either -i IMAGE or -if FILE for a function",
        )
    found = set(given(flags))
    function: dict[str, Any] = {"name": flags["name"]}
    function |= {name: flags[name] for name in _VALUES if name in found}
    function |= {name: _absolute(flags[name]) for name in _PATHS if name in found}
    if "layers" in found:
        function["layers"] = list(flags["layers"])
    if "lambda_environment" in found:
        function["environment"] = {"Variables": _variables("-le", flags["lambda_environment"])}
    if "supervisor_version" in found:
        function["supervisor"] = {"version": flags["supervisor_version"]}
    if "deployment_bucket" in found:
        function["deployment"] = {"bucket": flags["deployment_bucket"]}
    for name, key in (("input_bucket", "input"), ("output_bucket", "output")):
        if name in found:
            function[key] = [{"storage_provider": "s3", "path": flags[name]}]
    function["container"] = _container(flags, found)
    entry: dict[str, Any] = {"lambda": function}
    if "iam_role" in found:
        entry["iam"] = {"role": flags["iam_role"]}
    if "api_gateway_name" in found:
        entry["api_gateway"] = {"name": flags["api_gateway_name"]}
    batch: dict[str, Any] = {
        key: flags[f"batch_{key}"] for key in ("memory", "vcpus") if f"batch_{key}" in found
    }
    if "enable_gpu" in found:
        batch["enable_gpu"] = True
    if batch:
        entry["batch"] = batch
    return {"functions": {"aws": [entry]}}


def check_flags(document: Mapping[str, Any], file: Path) -> tuple[str, list[Diagnostic]]:
    """The FDL text of a document that `fdl_of` made, and its problems. They name flags instead of lines.

    Args:
        document: the FDL document.
        file: where its text will be.
    """
    from fdl_schemas.load import check_text

    text = json.dumps(document, indent=2)  # JSON is YAML
    lines = text.splitlines()
    found = check_text(text.encode(), file).diagnostics
    # FDL056: a script outside the FDL file's folder. Here the user named the script itself.
    return text, [_of_flag(one, lines) for one in found if one.code != "FDL056"]


def _of_flag(found: Diagnostic, lines: list[str]) -> Diagnostic:
    path = _path_of(lines, found.line or 0)
    flags = [flag for key, flag in _FLAGS.items() if f"{path}.".startswith(f"{key}.")]
    text = lines[found.line - 1].strip().rstrip(",") if found.line else ""
    _container, variables, variable = path.rpartition(".Variables.")
    # The value of a variable may be a secret.
    value = variable if variables else text.partition(": ")[2].strip('"').rstrip("[{")
    place = " ".join(filter(None, (*flags[-1:], value))) if flags else "flags"
    advice = None if found.help and "the FDL file" in found.help else found.help
    return replace(found, file=place, line=None, column=None, source_line=None, help=advice)


def _path_of(lines: list[str], number: int) -> str:
    """The keys that lead to a line of indented JSON, below `functions.aws`; lines are counted from 1."""
    keys: list[str] = []
    indent = None
    for line in reversed(lines[:number]):
        depth = len(line) - len(line.lstrip())
        if indent is None or depth < indent:
            indent = depth
            if '": ' in line:
                keys.insert(0, line.strip().partition('": ')[0].strip('"'))
    return ".".join(keys[2:])


def _container(flags: Mapping[str, Any], found: set[str]) -> dict[str, Any]:
    container: dict[str, Any] = (
        {"image": flags["image"]} if flags["image"] else {"image_file": _absolute(flags["image_file"])}
    )
    if "environment" in found:
        container["environment"] = {"Variables": _variables("-e", flags["environment"])}
    if "timeout_threshold" in found:
        container["timeout_threshold"] = flags["timeout_threshold"]
    return container


def _variables(flag: str, pairs: tuple[str, ...]) -> dict[str, str]:
    variables = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"{flag} {name} has no value", f"Use {flag} NAME=VALUE")
        variables[name] = value
    return variables


def _absolute(path: str) -> str:
    return str(Path(path).absolute())
