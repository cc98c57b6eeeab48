"""What a container can do with the credentials that it is given: what its role's policies allow, as on AWS.

A stranger's image runs with them, and with the cloud's address. So these tests take them out of a function
and out of a job, and try everything with them that would run programs on this machine, or read what is not
theirs.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from tests.cloud.embedded import CloudUnderTest, finished, log_of, make_queue, make_role, zipped

pytestmark = pytest.mark.cloud

BUCKET = "of-roles-test"
NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
SHOW = f"import json, os\ndef shown(*_): return {{name: os.environ.get(name) for name in {NAMES}}}\n"
CODE = {"ZipFile": zipped(index__py=SHOW)}
DENIED = {"AccessDenied", "AccessDeniedException", "403", "AuthorizationError", "UnauthorizedOperation"}
ANY = "arn:aws:iam::000000000000:role/any"
DEPLOYER = "arn:aws:iam::000000000000:role/cdk-hnb659fds-deploy-role-000000000000-us-east-1"


@dataclass
class Role:
    """Credentials of a role, as a container has them."""

    cloud: CloudUnderTest
    credentials: dict[str, str]
    function: str = ""

    def client(self, service: str) -> Any:
        key, secret, token = (self.credentials[name] for name in NAMES)
        return boto3.client(
            service,
            endpoint_url=self.cloud.endpoint,
            region_name=self.cloud.running.region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
        )

    def attempt(self, service: str, call: str, **wanted: Any) -> str:
        try:
            getattr(self.client(service), call)(**wanted)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "allowed"

    def ask(self, service: str, method: str, path: str, body: str = "", **headers: str) -> int:
        """A request that no client of AWS would send, signed rightly."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method, self.cloud.endpoint + path, data=body, headers=fields)
        SigV4Auth(Credentials(*(self.credentials[name] for name in NAMES)), service, "us-east-1").add_auth(
            request
        )
        return int(URLLib3Session().send(request.prepare()).status_code)


def in_function(cloud: CloudUnderTest, statements: list[dict[str, Any]]) -> Role:
    """The credentials of a function whose role has these statements."""
    name = f"of-roles-{uuid.uuid4().hex[:8]}"
    lambda_ = cloud.client("lambda")
    role = make_role(cloud, name, statements)
    lambda_.create_function(
        FunctionName=name, Runtime="python3.13", Role=role, Handler="index.shown", Code=CODE
    )
    return Role(cloud, json.loads(lambda_.invoke(FunctionName=name)["Payload"].read()), name)


def allow(action: str | list[str], resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


@pytest.fixture(scope="module")
def worker(cloud: CloudUnderTest) -> Role:
    """A function that may read one folder, and invoke functions."""
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    for key in ("in/x", "secret"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"content")
    cloud.client("secretsmanager").create_secret(Name="of-roles-test", SecretString="secret")
    return in_function(
        cloud,
        [allow("s3:GetObject", f"arn:aws:s3:::{BUCKET}/in/*"), allow("lambda:InvokeFunction")],
    )


@pytest.fixture(scope="module")
def job(cloud: CloudUnderTest) -> Role:
    """A job whose role may do nothing at all."""
    role = make_role(cloud, "of-roles-job", [])
    command = ["sh", "-c", "env | grep AWS_ACCESS_KEY_ID; wget -q -O - $AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    queue, definition = make_queue(cloud, command, containerProperties={"jobRoleArn": role})
    submitted = cloud.client("batch").submit_job(jobName="shown", jobQueue=queue, jobDefinition=definition)
    (answer,) = log_of(cloud, finished(cloud, submitted["jobId"]))
    given = json.loads(answer)
    values = (given[name] for name in ("AccessKeyId", "SecretAccessKey", "Token"))
    return Role(cloud, dict(zip(NAMES, values, strict=True)))


RUNS_PROGRAMS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "lambda",
        "create_function",
        {"FunctionName": "x", "Runtime": "python3.13", "Role": ANY, "Handler": "index.shown", "Code": CODE},
    ),
    ("lambda", "update_function_code", {"FunctionName": "{function}", **CODE}),
    ("lambda", "update_function_configuration", {"FunctionName": "{function}", "Handler": "index.other"}),
    ("lambda", "publish_layer_version", {"LayerName": "x", "Content": CODE}),
    (
        "lambda",
        "create_event_source_mapping",
        {"FunctionName": "{function}", "EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:q"},
    ),
    (
        "batch",
        "submit_job",
        {"jobName": "x", "jobQueue": "x", "jobDefinition": "x", "containerOverrides": {"command": ["id"]}},
    ),
    (
        "batch",
        "register_job_definition",
        {
            "jobDefinitionName": "x",
            "type": "container",
            "containerProperties": {"image": "x", "command": ["id"]},
        },
    ),
    ("cloudformation", "create_stack", {"StackName": "x", "TemplateBody": "{}"}),
    ("cloudformation", "create_change_set", {"StackName": "x", "ChangeSetName": "x", "TemplateBody": "{}"}),
    ("stepfunctions", "create_state_machine", {"name": "x", "definition": "{}", "roleArn": ANY}),
    ("events", "put_rule", {"Name": "x", "ScheduleExpression": "rate(1 minute)"}),
    (
        "ecs",
        "register_task_definition",
        {"family": "x", "containerDefinitions": [{"name": "x", "image": "x"}]},
    ),
    ("codebuild", "start_build", {"projectName": "x"}),
    ("athena", "start_query_execution", {"QueryString": "select * from read_text('/etc/shadow')"}),
    ("glue", "start_job_run", {"JobName": "x"}),
]
MORE_RIGHTS: list[tuple[str, str, dict[str, Any]]] = [
    ("iam", "create_user", {"UserName": "x"}),
    ("iam", "create_access_key", {}),
    ("iam", "put_role_policy", {"RoleName": "of-roles-job", "PolicyName": "x", "PolicyDocument": "{}"}),
    ("iam", "update_assume_role_policy", {"RoleName": "of-roles-job", "PolicyDocument": "{}"}),
    (
        "sts",
        "assume_role",
        {
            "RoleArn": DEPLOYER,
            "RoleSessionName": "intruder",
        },
    ),
    ("sts", "get_session_token", {}),
    (
        "lambda",
        "add_permission",
        {"FunctionName": "{function}", "StatementId": "x", "Action": "lambda:*", "Principal": "*"},
    ),
]
NOT_THEIRS: list[tuple[str, str, dict[str, Any]]] = [
    ("s3", "list_buckets", {}),
    ("s3", "get_object", {"Bucket": BUCKET, "Key": "secret"}),
    ("s3", "copy_object", {"Bucket": BUCKET, "Key": "in/y", "CopySource": f"{BUCKET}/secret"}),
    ("s3", "delete_objects", {"Bucket": BUCKET, "Delete": {"Objects": [{"Key": "in/x"}]}}),
    ("s3", "put_bucket_policy", {"Bucket": BUCKET, "Policy": "{}"}),
    ("s3", "put_bucket_cors", {"Bucket": BUCKET, "CORSConfiguration": {"CORSRules": []}}),
    ("secretsmanager", "list_secrets", {}),
    ("secretsmanager", "get_secret_value", {"SecretId": "of-roles-test"}),
    ("ssm", "get_parameter", {"Name": "/cdk-bootstrap/hnb659fds/version"}),
    ("logs", "describe_log_groups", {}),
    ("logs", "delete_log_group", {"logGroupName": "/aws/batch/job"}),
    ("lambda", "get_function", {"FunctionName": "{function}"}),
    ("lambda", "list_functions", {}),
    ("sqs", "list_queues", {}),
    ("sns", "list_topics", {}),
    ("dynamodb", "list_tables", {}),
    ("ecr", "describe_repositories", {}),
    ("apigateway", "get_rest_apis", {}),
    ("ec2", "describe_vpcs", {}),
    ("ec2", "run_instances", {"ImageId": "ami-0", "MinCount": 1, "MaxCount": 1}),
    ("rds", "describe_db_instances", {}),
    ("sesv2", "list_email_identities", {}),
    ("cognito-idp", "list_user_pools", {"MaxResults": 1}),
]


@pytest.mark.parametrize("place", ["worker", "job"])
@pytest.mark.parametrize(
    "wanted", RUNS_PROGRAMS + MORE_RIGHTS + NOT_THEIRS, ids=lambda one: f"{one[0]}-{one[1]}"
)
def test_what_no_policy_allows_is_refused(
    worker: Role, job: Role, place: str, wanted: tuple[str, str, dict[str, Any]]
) -> None:
    service, call, given = wanted
    named = json.loads(
        json.dumps(given, default=lambda data: data.decode("latin-1")).replace("{function}", worker.function)
    )
    if "Code" in given or "ZipFile" in given or "Content" in given:
        named |= {name: value for name, value in given.items() if name in ("Code", "ZipFile", "Content")}
    role = worker if place == "worker" else job
    assert role.attempt(service, call, **named) in DENIED


def test_what_policies_allow_works(worker: Role) -> None:
    assert worker.attempt("s3", "get_object", Bucket=BUCKET, Key="in/x") == "allowed"
    assert worker.attempt("lambda", "invoke", FunctionName=worker.function) == "allowed"
    assert worker.attempt("sts", "get_caller_identity") == "allowed"


def test_services_that_ask_for_nobodys_rights_are_closed_to_every_role(cloud: CloudUnderTest) -> None:
    """Athena's queries read files of this machine, whatever a policy says."""
    role = in_function(cloud, [{"Effect": "Allow", "Action": "*", "Resource": "*"}])
    assert role.attempt("s3", "list_buckets") == "allowed"
    for service, call, given in (
        ("athena", "start_query_execution", {"QueryString": "select * from read_text('/etc/shadow')"}),
        ("glue", "start_job_run", {"JobName": "x"}),
        ("rds", "describe_db_instances", {}),
    ):
        assert role.attempt(service, call, **given) in DENIED


FORM = "application/x-www-form-urlencoded"
FUNCTION = json.dumps(
    {
        "FunctionName": "x",
        "Runtime": "python3.13",
        "Role": ANY,
        "Handler": "index.x",
        "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},
    }
)


@pytest.mark.parametrize(
    ("service", "method", "path", "body", "headers"),
    [
        ("lambda", "POST", "/2015-03-31/functions?Action=InvokeFunction", FUNCTION, {}),
        ("lambda", "POST", "/2015-03-31/functions", FUNCTION, {"X_Amz_Target": "x.InvokeFunction"}),
        ("lambda", "PUT", "/2015-03-31/functions/{function}/code?Action=InvokeFunction", "{}", {}),
        ("lambda", "PUT", "/2015-03-31/functions/{function}/invocations", "{}", {}),
        ("lambda", "GET", "/2015-03-31/functions/{function}?Action=InvokeFunction", "", {}),
        (
            "iam",
            "POST",
            "/?Action=GetUser&Version=2010-05-08",
            "Action=CreateUser&UserName=x&Version=2010-05-08",
            {"Content_Type": FORM},
        ),
        ("iam", "POST", "/?Action=GetUser&Action=CreateUser&UserName=x&Version=2010-05-08", "", {}),
        ("iam", "POST", "/", "Action=ListUsers&Version=2010-05-08", {"Content_Type": "text/plain"}),
        (
            "sts",
            "POST",
            "/?Action=GetCallerIdentity&Version=2011-06-15",
            f"Action=AssumeRole&RoleArn={DEPLOYER}&RoleSessionName=intruder&Version=2011-06-15",
            {"Content_Type": "text/plain"},
        ),
        (
            "sts",
            "POST",
            "/",
            json.dumps({"Action": "AssumeRole", "RoleArn": DEPLOYER, "RoleSessionName": "intruder"}),
            {
                "Content_Type": "application/x-amz-json-1.1",
                "X_Amz_Target": "AWSSecurityTokenServiceV20110615.GetCallerIdentity",
            },
        ),
        (
            "secretsmanager",
            "POST",
            "/?Action=GetObject",
            "{}",
            {"X_Amz_Target": "secretsmanager.ListSecrets", "Content_Type": "application/x-amz-json-1.1"},
        ),
        ("lambda", "GET", "/2015-03-31/layers", "", {}),
        ("lambda", "GET", "/2019-09-25/functions/{function}/event-invoke-config", "", {}),
        ("ses", "GET", "/v2/email/identities", "", {}),
        ("s3", "GET", "/iceberg/v1/config", "", {}),
        ("s3", "GET", "/v20180820/bucket", "", {}),
        ("rds-data", "POST", "/Execute", "{}", {}),
        ("appsync", "POST", "/v1/apis/x/graphql", "{}", {}),
        ("ecr", "GET", "/v2/_catalog", "", {}),
    ],
)
def test_a_request_cannot_be_checked_as_one_thing_and_served_as_another(  # noqa: PLR0917
    worker: Role, service: str, method: str, path: str, body: str, headers: dict[str, str]
) -> None:
    assert worker.ask(service, method, path.replace("{function}", worker.function), body, **headers) in (
        400,
        403,
        404,
    )
    assert "x" not in [
        one["FunctionName"] for one in worker.cloud.client("lambda").list_functions()["Functions"]
    ]
    assert worker.cloud.client("iam").list_users()["Users"] == []


@pytest.mark.parametrize(
    "query", ["acl&tagging", "policy&acl", "acl&uploads", "versions&policy", "unheard-of"]
)
def test_a_request_to_s3_names_one_subresource(cloud: CloudUnderTest, worker: Role, query: str) -> None:
    reader = in_function(
        cloud, [allow(["s3:GetBucketAcl", "s3:GetObjectAcl", "s3:ListBucketVersions", "s3:ListBucket"])]
    )
    s3 = {"x_amz_content_sha256": hashlib.sha256(b"").hexdigest()}
    assert reader.ask("s3", "GET", f"/{BUCKET}?acl", **s3) == 200
    assert reader.ask("s3", "GET", f"/{BUCKET}?{query}", **s3) == 403


@pytest.mark.usefixtures("worker")
def test_patterns_of_policies_know_line_ends(cloud: CloudUnderTest) -> None:
    for key in ("line/a\nb", "exact\n"):
        cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"content")
    resources = [f"arn:aws:s3:::{BUCKET}/{pattern}" for pattern in ("line/*", "exact")]
    reader = in_function(cloud, [allow("s3:GetObject", resource) for resource in resources])
    assert reader.attempt("s3", "get_object", Bucket=BUCKET, Key="line/a\nb") == "allowed"
    assert reader.attempt("s3", "get_object", Bucket=BUCKET, Key="exact\n") in DENIED


def test_a_function_may_be_made_with_a_role_that_may_be_passed(cloud: CloudUnderTest) -> None:
    mighty = make_role(cloud, "of-roles-mighty", [allow("*")])
    meek = make_role(cloud, "of-roles-meek", [])
    maker = in_function(cloud, [allow("lambda:*"), allow("batch:*"), allow("iam:PassRole", meek)])
    new = {"Runtime": "python3.13", "Handler": "index.shown", "Code": CODE}
    job = {"image": "x", "command": ["id"], "jobRoleArn": mighty}
    assert (
        maker.attempt("lambda", "create_function", FunctionName="of-roles-meek", Role=meek, **new)
        == "allowed"
    )
    assert (
        maker.attempt("lambda", "create_function", FunctionName="of-roles-mighty", Role=mighty, **new)
        in DENIED
    )
    assert (
        maker.attempt("lambda", "update_function_configuration", FunctionName="of-roles-meek", Role=mighty)
        in DENIED
    )
    assert (
        maker.attempt(
            "batch",
            "register_job_definition",
            jobDefinitionName="x",
            type="container",
            containerProperties=job,
        )
        in DENIED
    )


def test_only_who_may_do_everything_may_change_stacks(cloud: CloudUnderTest) -> None:
    """The emulator makes a stack's resources with nobody's rights."""
    template = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    some = in_function(cloud, [allow("cloudformation:*")])
    everything = in_function(cloud, [allow("*")])
    assert (
        some.attempt("cloudformation", "create_stack", StackName="of-roles", TemplateBody=template) in DENIED
    )
    assert (
        everything.attempt("cloudformation", "create_stack", StackName="of-roles", TemplateBody=template)
        == "allowed"
    )


def test_the_credentials_of_a_role_cannot_be_guessed(cloud: CloudUnderTest, worker: Role) -> None:
    """ministack makes them out of the function's and the role's ARNs, which are no secrets."""
    config = cloud.client("lambda").get_function_configuration(FunctionName=worker.function)
    digest = hashlib.sha256(f"{config['FunctionArn']}:{config['Role']}".encode()).hexdigest()
    secret, token = (hashlib.sha256(f"{of}:{digest}".encode()).hexdigest() for of in ("secret", "token"))
    for key in (f"ASIA{digest[:16].upper()}", worker.credentials["AWS_ACCESS_KEY_ID"]):
        guessed = Role(cloud, dict(zip(NAMES, (key, secret, token), strict=True)))
        assert guessed.attempt("sts", "get_caller_identity") in (
            "InvalidClientTokenId",
            "SignatureDoesNotMatch",
        )


def test_an_access_point_is_described_with_a_right_on_it(cloud: CloudUnderTest) -> None:
    mine, other = "fsap-0123456789abcdef0", "fsap-0123456789abcdef1"
    arn = f"arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/{mine}"
    role = in_function(cloud, [allow("elasticfilesystem:DescribeAccessPoints", arn)])
    assert role.attempt("efs", "describe_access_points", AccessPointId=mine) == "allowed"
    assert role.attempt("efs", "describe_access_points", AccessPointId=other) in DENIED


def test_a_session_needs_its_own_token(worker: Role, job: Role) -> None:
    for token in (None, "x", job.credentials["AWS_SESSION_TOKEN"]):
        mixed = Role(worker.cloud, {**worker.credentials, "AWS_SESSION_TOKEN": token})  # type: ignore[dict-item]
        assert mixed.attempt("sts", "get_caller_identity") == "InvalidClientTokenId"
