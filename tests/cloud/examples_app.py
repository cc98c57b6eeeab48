"""A CDK app with a stack for each FDL file below a folder, `-c fdl=FOLDER`: the CDK starts once for all."""

from __future__ import annotations

import os
from pathlib import Path

from toolchain.node import choose_node


def main() -> None:
    """Synthesize all of them, as `app.py` does with one."""
    choose_node()
    from aws_cdk import App

    from fdl_schemas.load import load_workflow
    from scar_constructs.deployment import stack_name_for
    from scar_constructs.functions.provider_settings import with_environment_values
    from scar_constructs.workflow_stack import WorkflowStack

    app = App(builtin_cloud_formation_validation=False)
    for file in sorted(Path(app.node.get_context("fdl")).glob("*/*.yaml")):
        WorkflowStack(
            app,
            stack_name_for(file.stem),
            workflow=with_environment_values(load_workflow(file), os.environ),
            registry_mirrors=app.node.get_context("registry_mirrors"),
        )
    app.synth()


if __name__ == "__main__":
    main()
