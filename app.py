"""The CDK app: `cdk deploy -c fdl=FILE`. More context keys: `scar_constructs/deployment.py`."""

from __future__ import annotations

import os
import sys

from scar_constructs.interpreter import prepare_interpreter


def main() -> int:
    """Load the FDL file, synthesize its stacks; 2 with a message and no template if that cannot be done."""
    prepare_interpreter(__file__)
    from fdl_schemas.diagnostics.diagnostic import render
    from fdl_schemas.load import check
    from scar_constructs.deployment import Deployment, DeploymentError, cdk_context
    from scar_constructs.functions.provider_settings import with_environment_values
    from scar_constructs.functions.udocker_tarball import find_udocker_tools

    try:
        context = cdk_context(os.environ)
        deployment = Deployment.from_context(context)
        checked = check(deployment.fdl)
        # `scar init` has made this FDL file out of flags: its files are those that the user has named.
        unasked = {"FDL056"} if context.get("from_flags") else set()
        diagnostics = [found for found in checked.diagnostics if found.code not in unasked]
        if diagnostics:
            print(render(diagnostics, sys.stderr.isatty()), file=sys.stderr)
        if checked.workflow is None:
            return 2
        workflow = with_environment_values(deployment.with_bucket_names(checked.workflow), os.environ)
        tools = find_udocker_tools(deployment.udocker_tools, os.environ) if workflow.pulls else None

        from aws_cdk import App

        from scar_constructs.workflow_stack import add_stacks

        app = App(auto_synth=False)
        add_stacks(app, workflow, deployment, os.environ.get("CDK_DEFAULT_REGION"), tools)
        app.synth()
    except DeploymentError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except RuntimeError as problem:  # the CDK's own checks
        print(f"error: the CDK refuses this workflow: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
