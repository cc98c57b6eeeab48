"""The CDK app: reads the context, loads the FDL file, synthesizes its stacks. `scar-app` runs it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from fdl_schemas.diagnostics.diagnostic import render
from fdl_schemas.load import check
from scar_constructs.deployment import Deployment, DeploymentError, cdk_context
from scar_constructs.functions.provider_settings import with_environment_values
from scar_constructs.functions.udocker_tarball import find_udocker_tools
from toolchain.errors import DownloadError
from toolchain.node import choose_node


def feature_flags() -> Mapping[str, object]:
    """The CDK's feature flags as recommended for new apps. Context of the command line takes precedence."""
    flags: dict[str, object] = json.loads(
        Path(__file__).with_name("feature_flags.json").read_text(encoding="utf-8")
    )
    return flags


def main() -> int:
    """Synthesize; returns 0, or 2 after a message if the file or the context is invalid."""
    choose_node()
    try:
        context = cdk_context(os.environ)
        deployment = Deployment.from_context(context)
        checked = check(deployment.fdl)
        # `scar init` makes an FDL file of flags, and reports its problems in terms of the flags.
        if checked.diagnostics and not context.get("from_flags"):
            print(render(checked.diagnostics, sys.stderr.isatty()), file=sys.stderr)
        if checked.workflow is None:
            return 2
        workflow = with_environment_values(deployment.with_names(checked.workflow), os.environ)
        tools = find_udocker_tools(deployment.udocker_tools, os.environ) if workflow.pulls else None

        from aws_cdk import App

        from scar_constructs.workflow_stack import add_stacks

        # The CDK's own validation of templates takes longer than everything else. The tests run cfn-lint on
        # every construct and on generated workflows, and the validation on examples/own-cdk-app.
        app = App(auto_synth=False, context=feature_flags(), builtin_cloud_formation_validation=False)
        region, account = os.environ.get("CDK_DEFAULT_REGION"), os.environ.get("CDK_DEFAULT_ACCOUNT")
        keys = deployment.keys_of_buckets(checked.workflow)
        add_stacks(app, workflow, deployment, region, tools, account=account, bucket_keys=keys)
        app.synth()
    except ModuleNotFoundError as problem:
        if problem.name not in ("aws_cdk", "constructs"):
            raise
        print(
            f'error: {sys.executable} has no aws-cdk-lib. Install it: pip install "scar-cdk[deploy]"',
            file=sys.stderr,
        )
        return 2
    except (DeploymentError, DownloadError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except RuntimeError as problem:  # the CDK's own checks
        print(f"error: the CDK rejects this workflow: {problem}", file=sys.stderr)
        return 2
    return 0


def command() -> None:
    """The command `scar-app`."""
    sys.exit(main())


if __name__ == "__main__":
    command()
