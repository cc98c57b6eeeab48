"""Makes sure that the CDK app of a checkout runs in a Python that has the CDK.

The cdk command starts `python3 app.py` with the first `python3` in the PATH. In an activated virtual
environment, that is the right one. Outside one, the repository's own `.venv` (created by `make`) is used.
This file must load in any Python 3, so that an old one prints a message instead of a syntax error.
"""

import importlib.util
import os
import sys
from pathlib import Path

_OLDEST = (3, 11)


def prepare_interpreter(app):  # type: (str) -> None
    """Continue only in a Python that can synthesize: this one, else the `.venv` beside `app`, else exit with
    code 2.

    :param app: path of the CDK app's main file; it is restarted if the interpreter must change.
    """
    root = Path(app).resolve().parent
    in_environment = sys.prefix != sys.base_prefix
    own = root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (
        not (in_environment and _usable())
        and own.exists()
        and Path(sys.prefix).resolve() != own.parent.parent.resolve()
    ):
        os.execv(str(own), [str(own), *sys.argv])  # noqa: S606 (the same program, in the repository's own environment)
    if not _usable():
        found = "{}.{}".format(*sys.version_info[:2])
        sys.stderr.write(
            f"error: {sys.executable} (Python {found}) cannot synthesize: synthesis needs Python "
            f"{_OLDEST[0]}.{_OLDEST[1]} or newer with aws-cdk-lib. Run `make` in the repository once, or "
            "activate an environment made with `pip install -r requirements.txt`.\n"
        )
        sys.exit(2)


def _usable():  # type: () -> bool
    return sys.version_info >= _OLDEST and importlib.util.find_spec("aws_cdk") is not None
