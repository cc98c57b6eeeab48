"""What a Batch job starts with: fetch the runner and the function's package from S3, then become the runner.

This text is the job's command (`python3 -c TEXT`) in a plain Python image, so it uses the standard library
alone and stands for itself: nothing imports it. It runs on Python 3.11 and newer.
"""

import datetime
import hashlib
import hmac
import http.client
import io
import json
import os
import shutil
import stat
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
TRIES = 5


class BootstrapError(Exception):
    """The job cannot start; the text says why, and what to do."""


def main() -> None:
    """Fetch both packages and continue as `runtime.batch_job` in this process (so that signals reach it)."""
    store = asset_store()
    runner = unpacked("SCAR_RUNNER_ASSET", store)
    function = unpacked("SCAR_FUNCTION_ASSET", store)
    path = os.pathsep.join(map(str, python_folders(runner)))
    environment = {**os.environ, "PYTHONPATH": path, "SCAR_FUNCTION_DIR": str(function)}
    environment.setdefault("AWS_DEFAULT_REGION", region())  # the name that boto3 reads
    os.chdir(
        function
    )  # -m puts the current folder first on the path: let it be one that holds no modules of others
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "runtime.batch_job"], environment)  # noqa: S606


def python_folders(runner: Path) -> "list[Path]":
    """The runner's folders with modules, as AWS Lambda takes them: one is for a single version of Python."""
    version = "{}.{}".format(*sys.version_info[:2])
    return [runner / "python", runner / "python" / "lib" / f"python{version}" / "site-packages"]


def unpacked(variable: str, store: Path) -> Path:
    """The folder with the content of the zip that an environment variable names as s3://bucket/key.

    Keys of assets are hashes of their content: what is there already, from another job on this machine, is
    used again.
    """
    uri = os.environ.get(variable, "")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not (uri.startswith("s3://") and bucket and key):
        raise BootstrapError(f"{variable} is {uri!r}: expected s3://BUCKET/KEY; deploy the stack again")
    folder = store / hashlib.sha256(uri.encode()).hexdigest()[:32]
    if folder.is_dir():
        return folder
    making = Path(tempfile.mkdtemp(dir=store))
    try:
        unzip(fetch(bucket, key), making, uri)
        making.rename(folder)  # in one step: nobody sees half of it
    except OSError:
        if not folder.is_dir():  # else another job was faster
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def asset_store() -> Path:
    """A folder that only we can write: a stranger on this machine must not place a runner there."""
    store = Path(os.environ.get("SCAR_STORE") or "/tmp/scar") / "assets"  # noqa: S108
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = store.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return store
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="scar-assets-"))


def unzip(content: bytes, folder: Path, uri: str) -> None:
    """Unpack with the files' permissions, which `zipfile` alone forgets (the script is executable)."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                path = Path(archive.extract(member, folder))  # checks the CRC; never leaves the folder
                mode = member.external_attr >> 16 & 0o777
                if mode and not member.is_dir():
                    path.chmod(mode | 0o400)
    except zipfile.BadZipFile as problem:
        raise BootstrapError(
            f"{uri} is not a whole zip archive ({problem}); deploy the stack again"
        ) from None


def fetch(bucket: str, key: str) -> bytes:
    """GET an object, trying again what may pass."""
    for attempt in range(TRIES):
        try:
            with urllib.request.urlopen(signed_get(bucket, key, credentials()), timeout=60) as answer:  # noqa: S310
                return bytes(answer.read())  # raises if the connection is cut
        except urllib.error.HTTPError as problem:
            reason = f"HTTP {problem.code} {problem.reason}"
            if problem.code < 500 and problem.code != 429:  # noqa: PLR2004 (not a matter of time)
                break
        except (OSError, http.client.HTTPException) as problem:
            reason = str(getattr(problem, "reason", problem) or type(problem).__name__)
        if attempt < TRIES - 1:
            time.sleep(0.5 * 2**attempt)
    raise BootstrapError(
        f"cannot fetch s3://{bucket}/{key}: {reason}; the job needs the right to read it and a way to S3 "
        "(a public address, a NAT gateway or an S3 endpoint)"
    )


def credentials() -> tuple[str, str, str]:
    """Access key, secret key, session token: from the environment, else from the container's own address."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        token = os.environ.get("AWS_SESSION_TOKEN", "")
        return os.environ["AWS_ACCESS_KEY_ID"], os.environ.get("AWS_SECRET_ACCESS_KEY", ""), token
    relative = os.environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    address = (
        f"http://169.254.170.2{relative}"
        if relative
        else os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    )
    if not address:
        raise BootstrapError("there are no AWS credentials; the job definition needs a job role")
    request = urllib.request.Request(address)  # noqa: S310 (the address is ECS's own)
    token_file = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    token = (
        Path(token_file).read_text()
        if token_file
        else os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    )
    if token:
        request.add_header("Authorization", token)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=10) as answer:
        content = answer.read()
    try:
        found = json.loads(content)
        return found["AccessKeyId"], found["SecretAccessKey"], found.get("Token", "")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BootstrapError(f"{address} gave no AWS credentials; look at the job role") from None


def signed_get(bucket: str, key: str, keys: tuple[str, str, str]) -> urllib.request.Request:
    """A GET request signed with AWS Signature Version 4."""
    access_key, secret_key, token = keys
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    path = "/" + urllib.parse.quote(key, safe="/-_.~")
    if endpoint:
        url = urllib.parse.urlsplit(endpoint)
        path = f"{url.path.rstrip('/')}/{bucket}{path}"
        scheme, host = url.scheme, url.netloc
    else:
        suffix = "amazonaws.com.cn" if region().startswith("cn-") else "amazonaws.com"
        scheme, host = "https", f"{bucket}.s3.{region()}.{suffix}"
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")  # noqa: UP017
    headers = {"host": host, "x-amz-content-sha256": EMPTY_SHA256, "x-amz-date": now}
    if token:
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"GET\n{path}\n\n{lines}\n{names}\n{EMPTY_SHA256}"
    scope = f"{now[:8]}/{region()}/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signing_key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    signature = hmac.digest(signing_key, to_sign.encode(), "sha256").hex()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return urllib.request.Request(f"{scheme}://{host}{path}", headers=headers)  # noqa: S310


def region() -> str:
    """The region that the job runs in."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


if __name__ == "__main__":
    try:
        main()
    except (BootstrapError, OSError) as problem:
        # One line of JSON, as the runner itself logs.
        print(
            json.dumps(
                {
                    "scar": 1,
                    "level": "ERROR",
                    "stage": "bootstrap",
                    "message": f"the job cannot start: {problem}",
                }
            )
        )
        sys.exit(1)
