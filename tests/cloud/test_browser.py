"""What web pages can do to the embedded cloud, tried by a real browser: a headless Chromium.

One page attacks, from another port of this machine and under a name of its own that leads to the cloud (DNS
rebinding). Another one is an application that may do what its user has presigned.
"""

from __future__ import annotations

import base64
import http.client
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.embedded import CloudUnderTest, any_role, keys, make_function, zipped

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(CHROMIUM is None, reason="a browser is needed (see tests/tools.sh): chromium"),
]

HELD, OPEN = "held-by-browser-test", "open-to-an-application"
FUNCTION = {
    "FunctionName": "of-a-page",
    "Runtime": "python3.13",
    "Role": "arn:aws:iam::000000000000:role/any",
    "Handler": "index.handle",
    "Code": {"ZipFile": base64.b64encode(zipped(index__py="def handle(*_): return 'ran'")).decode()},
}
ATTEMPTS = """
const tries = {
  create: () => send("POST", "/2015-03-31/functions", FUNCTION),
  invoke: () => send("POST", "/2015-03-31/functions/of-a-page/invocations", "{}"),
  wipe: () => send("POST", "/_ministack/reset"),
  configure: () => send("POST", "/_ministack/config", "{}"),
  upload: () => send("PUT", "/HELD/uploaded", "by a page"),
  delete: () => send("DELETE", "/HELD/file"),
  list: () => send("GET", "/HELD"),
  read: () => send("GET", "/HELD/file"),
  key: () => send("GET", "/", undefined, {Authorization:
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"}),
  quietly: () => fetch(CLOUD + "/2015-03-31/functions", {method: "POST", mode: "no-cors", body: FUNCTION})
    .then(answer => answer.text()),
  quiet_wipe: () => fetch(CLOUD + "/_ministack/reset", {method: "POST", mode: "no-cors"}).then(a => a.text()),
  beacon: () => Promise.resolve(String(navigator.sendBeacon(CLOUD + "/2015-03-31/functions", FUNCTION))),
  form: () => new Promise(done => {
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = "target"; frame.onload = () => done("sent");
    Object.assign(form, {method: "POST", action: CLOUD + "/_ministack/reset", target: "target"});
    document.body.append(frame, form); form.submit();
  }),
  script: () => new Promise(done => {
    const script = document.createElement("script");
    script.onerror = () => done("refused"); script.onload = () => done("loaded");
    script.src = CLOUD + "/_ministack/health"; document.body.append(script);
  }),
  socket: () => new Promise(done => {
    const socket = new WebSocket(CLOUD.replace("http", "ws") + "/_aws/execute-api/abcdef12/stage");
    socket.onopen = () => done("open"); socket.onerror = () => done("refused");
  }),
};
"""
PAGE = """<!doctype html><body><script>
const CLOUD = "{cloud}", FUNCTION = {function}, GIVEN = {given};
const plain = body => body ? {{"Content-Type": "text/plain"}} : {{}};
function send(method, path, body, headers) {{
  return fetch(CLOUD + path, {{method, body, headers: headers || plain(body)}})
    .then(async answer => answer.status + " " + await answer.text());
}}
{tries}
(async () => {{
  const found = {{}};
  for (const [name, one] of Object.entries(tries))
    try {{ found[name] = await one(); }} catch (error) {{ found[name] = "failed: " + error.message; }}
  await fetch("/result", {{method: "POST", body: JSON.stringify(found)}});
}})();
</script>"""


@dataclass
class Site:
    """A web server of somebody else on this machine, which also leads its visitors to the cloud."""

    port: int
    cloud_port: int
    pages: dict[str, str]
    results: queue.Queue[bytes]

    def visit(self, origin: str, page: str, profile: Path) -> dict[str, str]:
        """Show a page: what its script has found."""
        rebinding = f"MAP rebound.test:{self.cloud_port} 127.0.0.1:{self.port}, MAP *.test 127.0.0.1"
        command = [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *(f"--user-data-dir={profile}", f"--host-resolver-rules={rebinding}", "--no-proxy-server"),
            *("--remote-debugging-port=0", f"{origin}/{page}"),
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            try:
                found: dict[str, str] = json.loads(self.results.get(timeout=120))
            finally:
                browser.terminate()
        return found


@contextmanager
def serving(cloud: CloudUnderTest) -> Iterator[Site]:
    pages: dict[str, str] = {}
    results: queue.Queue[bytes] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            if page is None:
                self._lead_to_cloud()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def _lead_to_cloud(self) -> None:
            """What arrives after a name was rebound: the very request, at the cloud."""
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            connection = http.client.HTTPConnection("127.0.0.1", cloud.running.port, timeout=30)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in (
                    "content-length",
                    "connection",
                    "date",
                    "server",
                    "transfer-encoding",
                ):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        def do_POST(self) -> None:
            if self.path != "/result":
                self._lead_to_cloud()
                return
            results.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        do_PUT = do_DELETE = do_OPTIONS = _lead_to_cloud  # noqa: N815 (names of the base class)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Site(server.server_port, cloud.running.port, pages, results)
        server.shutdown()


@pytest.fixture(scope="module")
def site(cloud: CloudUnderTest) -> Iterator[Site]:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=HELD)
    any_role(cloud)
    with serving(cloud) as served:
        yield served


def page(cloud: str, tries: str, **given: Any) -> str:
    function = json.dumps(json.dumps(FUNCTION))
    return PAGE.format(cloud=cloud, function=function, tries=tries, given=json.dumps(given))


@pytest.mark.parametrize("name", ["127.0.0.1", "evil.test", "rebound.test"])
def test_a_page_that_attacks_creates_reads_and_wipes_nothing(
    cloud: CloudUnderTest, site: Site, name: str, tmp_path: Path
) -> None:
    s3 = cloud.client("s3")
    s3.put_object(Bucket=HELD, Key="file", Body=b"held and secret")
    rebound = name == "rebound.test"
    origin = f"http://{name}:{cloud.running.port if rebound else site.port}"
    target = origin if rebound else cloud.endpoint
    site.pages["/attack"] = page(target, ATTEMPTS.replace("HELD", HELD))
    found = site.visit(origin, "attack", tmp_path / "profile")
    assert "secret" not in json.dumps(found)
    assert found["quietly"] == found["quiet_wipe"] == "" or rebound
    refused = ("failed:", "403") if rebound else ("failed:",)
    assert [one for one in list(found)[:9] if not found[one].startswith(refused)] == [], found
    assert (found["script"], found["socket"]) == ("refused", "refused")
    functions = cloud.client("lambda").list_functions()["Functions"]
    assert "of-a-page" not in [function["FunctionName"] for function in functions]
    assert keys(cloud, HELD, "") == ["file"]
    assert s3.get_object(Bucket=HELD, Key="file")["Body"].read() == b"held and secret"


APPLICATION = """
const form = new FormData();
for (const [name, value] of Object.entries(GIVEN.fields)) form.append(name, value);
form.append("file", new Blob(["by a form"]), "f.txt");
const tries = {
  put: () => fetch(GIVEN.put, {method: "PUT", body: "by a page"}).then(answer => answer.status + ""),
  form: () => fetch(CLOUD + "/BUCKET", {method: "POST", body: form}).then(answer => answer.status + ""),
  get: () => fetch(GIVEN.get).then(answer => answer.text()),
  forged: () => fetch(GIVEN.get.replace(/Signature=./, "Signature=x")).then(answer => answer.status + ""),
  elsewhere: () => fetch(GIVEN.elsewhere).then(answer => answer.text()),
  picture: () => new Promise(done => {
    const image = document.createElement("img");
    image.onload = () => done("shown"); image.onerror = () => done("broken");
    image.src = GIVEN.picture; document.body.append(image);
  }),
  endpoint: () => send("GET", GIVEN.endpoint + "?x=1"),
  post: () => fetch(CLOUD + GIVEN.endpoint, {method: "POST", body: "hello"}).then(answer => answer.text()),
  url: () => send("GET", GIVEN.url),
};
"""
ANSWERS = """def handle(event, context):
    return {"statusCode": 200, "body": "answered", "headers": {"Access-Control-Allow-Origin": "*"}}
"""
PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><rect width="1" height="1"/></svg>'


def test_an_application_does_what_its_user_has_presigned(
    cloud: CloudUnderTest, site: Site, tmp_path: Path
) -> None:
    """From the origin that the bucket's CORS configuration names, and from no other."""
    endpoint, url = _endpoints(cloud)
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=OPEN)
    s3.put_object(Bucket=OPEN, Key="here", Body=b"for the application")
    s3.put_object(Bucket=HELD, Key="picture.svg", Body=PICTURE, ContentType="image/svg+xml")
    rule = {"AllowedOrigins": [f"http://app.test:{site.port}"], "AllowedMethods": ["GET", "PUT", "POST"]}
    s3.put_bucket_cors(
        Bucket=OPEN, CORSConfiguration={"CORSRules": [{**rule, "AllowedHeaders": ["content-type"]}]}
    )

    def presigned(call: str, bucket: str, key: str) -> str:
        return str(s3.generate_presigned_url(call, Params={"Bucket": bucket, "Key": key}))

    site.pages["/application"] = page(
        cloud.endpoint,
        APPLICATION.replace("BUCKET", OPEN),
        put=presigned("put_object", OPEN, "put"),
        get=presigned("get_object", OPEN, "here"),
        elsewhere=presigned("get_object", HELD, "file"),
        picture=presigned("get_object", HELD, "picture.svg"),
        fields=s3.generate_presigned_post(OPEN, "form")["fields"],
        endpoint=endpoint,
        url=url,
    )
    found = site.visit(f"http://app.test:{site.port}", "application", tmp_path / "profile")
    assert found.pop("forged").startswith("failed:")
    assert found.pop("elsewhere").startswith("failed:"), "a bucket without a CORS configuration"
    open_to_all = {"picture": "shown", "endpoint": "200 answered", "post": "answered", "url": "200 answered"}
    assert found == {"put": "200", "form": "204", "get": "for the application", **open_to_all}
    written = {key: s3.get_object(Bucket=OPEN, Key=key)["Body"].read() for key in ("put", "form")}
    assert written == {"put": b"by a page", "form": b"by a form"}
    for key in written:
        s3.delete_object(Bucket=OPEN, Key=key)
    elsewhere = site.visit(f"http://other.test:{site.port}", "application", tmp_path / "another")
    assert {name: elsewhere[name] for name in open_to_all} == open_to_all
    assert all(
        elsewhere[name].startswith("failed:") for name in ("put", "form", "get", "forged", "elsewhere")
    )
    assert keys(cloud, OPEN, "") == ["here"]


def _endpoints(cloud: CloudUnderTest) -> tuple[str, str]:
    """Paths of two HTTP endpoints of a function: API Gateway's, made as our stacks make it, and its URL."""
    arn = make_function(cloud, "answers-pages", ANSWERS)
    api = cloud.client("apigateway")
    api_id = api.create_rest_api(name="answers-pages")["id"]
    (root,) = api.get_resources(restApiId=api_id)["items"]
    resource = api.create_resource(restApiId=api_id, parentId=root["id"], pathPart="launch")["id"]
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"
    for method in ("GET", "POST"):
        of = {"restApiId": api_id, "resourceId": resource, "httpMethod": method}
        api.put_method(**of, authorizationType="NONE")
        api.put_integration(**of, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri)
    api.create_deployment(restApiId=api_id, stageName="scar")
    lambda_ = cloud.client("lambda")
    url = lambda_.create_function_url_config(FunctionName="answers-pages", AuthType="NONE")["FunctionUrl"]
    lambda_.add_permission(
        FunctionName="answers-pages",
        StatementId="everyone",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    url_id = url.split("//")[1].split(".")[0]
    return f"/_aws/execute-api/{api_id}/scar/launch", f"/_aws/lambda-url/{url_id}/"
