"""SCAR 4.3.1, in its own virtual environment and home folder in `build/bench`.

`scar run` asks whether to process the files in the function's input folder. It lists them all, sends the
event of the first one and waits, and sends the others from up to 500 threads. It runs with today's boto3,
which takes the address of AWS from `AWS_ENDPOINT_URL`. Its exit code is always 0: check the events that
arrived.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks import installed

VERSION = "4.3.1"
ANSWER = b"Y\n"
"""To SCAR's question."""


def program() -> Path:
    """The scar program. Raises UnavailableError."""
    return installed.program("scar", VERSION)


def make_home(home: Path, environment: dict[str, str]) -> dict[str, str]:
    """Create a home folder with SCAR's own configuration; returns the environment to run it in.

    `environment` has the credentials. SCAR reads them from a profile in a file.
    """
    profile = (
        f"aws_access_key_id={environment['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key={environment['AWS_SECRET_ACCESS_KEY']}\n"
    )
    (home / ".aws").mkdir(parents=True)
    (home / ".aws/credentials").write_text(f"[default]\n{profile}")
    whole = {
        **environment,
        "HOME": str(home),
        "SCAR_CONFIG_FOLDER": str(home / ".scar"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / ".aws/credentials"),
    }
    # The first start of all only writes the configuration, and ends with 1.
    subprocess.run([str(program()), "ls"], env=whole, check=False, stdout=subprocess.DEVNULL)
    settings = home / ".scar/scar.cfg"
    configuration = json.loads(settings.read_text())
    configuration["aws"]["iam"]["role"] = "arn:aws:iam::000000000000:role/bench"
    settings.write_text(json.dumps(configuration))
    return whole
