"""SCAR 4.3.1, in a virtual environment and with a home folder of its own in `build/bench`.

`scar run` asks whether the files in the function's input folder are meant; then it lists them all, sends the
first one's event and waits, and sends the others from up to 500 threads. Today's boto3, which it runs with,
takes the address of AWS from `AWS_ENDPOINT_URL`. It ends with 0 whatever happens: look at what came.
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
    """The scar program. Raises NotToBeHadError."""
    return installed.program("scar", VERSION)


def make_home(home: Path, environment: dict[str, str]) -> dict[str, str]:
    """An empty home with SCAR's own configuration in it; gives the environment that it is run in.

    `environment` holds the credentials, which SCAR wants in a profile of a file.
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
