"""The CDK app of this checkout: `cdk deploy -c fdl=FILE`. The app itself is `scar_constructs/app.py`."""

from __future__ import annotations

import sys

from scar_constructs.interpreter import prepare_interpreter

if __name__ == "__main__":
    prepare_interpreter(__file__)
    from scar_constructs.app import main

    sys.exit(main())
