"""The embedded cloud hangs on private names of one version of ministack. This fails loudly if they move."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_cloud import emulator


def test_the_pinned_ministack_is_the_one_that_was_tried() -> None:
    assert importlib.metadata.version("ministack") == emulator.MINISTACK_VERSION


def test_another_version_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "9.9.9")
    with pytest.raises(emulator.UnknownEmulatorError, match=r"needs ministack .*, but 9\.9\.9 is installed"):
        emulator.check_version()


def test_every_private_name_that_is_used_is_there() -> None:
    """In a process of its own, since it changes ministack and takes its seconds."""
    program = """
import os, tempfile
state = tempfile.TemporaryDirectory()
os.environ.update(GATEWAY_PORT="4566", STATE_DIR=f"{state.name}/services", S3_DATA_DIR=f"{state.name}/s3")
from ministack.services.cloudformation import provisioners
from ministack.services import batch, cloudwatch_logs, eventbridge, lambda_svc, s3, sns, sqs, ssm
from ministack.services import ecr, secretsmanager
from ministack.core import iam_actions, iam_evaluator, lambda_runtime, persistence
import ministack.app
from local_cloud.logs import events as log_events
names = [
    (ministack.app, "pin_request_origin"),
    (ministack.app, "_MAIN_LOOP _ready_scripts_state _build_persistence_save_dict save_all app main AUTH"),
    (ministack.app, "_load_persisted_state _reset_all_state _state_map _get_module"),
    (persistence, "_json_default _json_object_hook"),
    (provisioners, "_RESOURCE_HANDLERS _REPLACING_PROPERTIES _physical_name _delete_predecessor"),
    (provisioners, "_sns_sub_attributes"),
    (batch, "_DISPATCH _compute_envs _job_queues _job_definitions _jobs reset get_state"),
    (batch, "_jd_arn _job_arn"),
    (cloudwatch_logs, "_log_groups _create_log_group _create_log_stream _put_log_events"),
    (cloudwatch_logs, "_append_log_events _forget_log_records_for_group _forget_log_records_for_stream"),
    (cloudwatch_logs, "_log_records _build_log_record get_state reset"),
    (cloudwatch_logs, " ".join(f"_{name}" for name in log_events._OTHERS)),
    (eventbridge, "_put_events _dispatch_to_lambda _dispatch_to_sqs"),
    (lambda_runtime.Worker, "_drain_stderr_bounded _read_stderr invoke"),
    (lambda_svc, "_emit_lambda_logs"),
    (lambda_runtime, "_detect_runtime_binary execution_credentials _worker_class_for acquire_worker"),
    (lambda_runtime, "release_worker reap_idle_workers kill_workers invalidate_worker _workers _lock"),
    (lambda_runtime, "_LOCAL_WORKER_TTL ProvidedInitTimeout"),
    (lambda_runtime.ProvidedWorker, "_build_handler_class _mark_first_poll _record_result _teardown"),
    (lambda_runtime.ProvidedWorker, "_spawn _await_init _drain_stderr _discard_tmpdir invoke"),
    (lambda_svc, "_execute_function_docker reap_idle_workers _build_config _create_function _update_code"),
    (lambda_svc, "_update_config _get_function _functions _ensure_reaper_thread"),
    (lambda_svc, "_xray_trace_id_for_invocation"),
    (provisioners, "_lambda_create _lambda_delete _CUSTOM_NAME_REPLACEMENT"),
    (ecr, "_repositories _lifecycle_policies _create_repository _delete_repository _put_lifecycle_policy"),
    (ecr, "reset"),
    (lambda_svc, "invoke_async_with_retry _execute_function _get_func_record_for_ref"),
    (lambda_svc, "_execution_record_for_config _invoke_depth reset _ensure_poller _esms"),
    (lambda_svc, "_write_code_blob _prune_orphan_code_blobs"),
    (iam_actions, "extract_resource_arn s3_additional_checks extract_iam_action _s3_action"),
    (iam_actions, "_S3_QUERY_ACTIONS _S3_BUCKET_QUERY_ACTIONS _S3_OBJECT_QUERY_ACTIONS"),
    (iam_actions, "SERVICE_TO_IAM_NAMESPACE access_denied_response request_tag_context"),
    (iam_actions, "_match_rest_action _BOTOCORE_SERVICE_MAP"),
    (iam_evaluator, "enforce _request_origin resolve_credential is_root_access_key authenticate"),
    (iam_evaluator, "_fnmatch_compile caller_verified pin_signed_request pin_signed_body resolve_principal"),
    (ministack.app, "pin_signed_request pin_signed_body SERVICE_HANDLERS _credential_failure"),
    (ministack.app, "_handle_pre_body_request _handle_post_body_shortcuts _handle_options_request"),
    (ministack.app, "_handle_special_data_plane_request _handle_execute_api_request _s3_cors_target"),
    (ministack.app, "_handle_s3_vhost_request _with_data_plane_headers _handle_lambda_url_request"),
    (ministack.app, "_parse_execute_api_url _parse_lambda_url"),
    (s3, "_verify_presigned_sigv4 _enforce_signed_post_policy _enforce_post_policy_size"),
    (s3, "cors_response_headers _error _cors_rules _cors_answer"),
    (s3, "_multipart_uploads _delete_bucket _key_matches_filter _get_object _read_body _object_disk_path"),
    (s3, "_persist_object _object_meta_from_record _key_history_meta _remove_key_files DATA_DIR"),
    (s3, "_other_key_disk_path _fire_s3_event_async _fire_s3_event _next_event_sequencer"),
    (s3, "_bucket_notifications _deliver_event_to_sqs"),
    (lambda_svc, "_execute_function_dispatch _invoke"),
    (ministack.app, "_dispatch_service_request"),
    (sns, "_lambda_svc _deliver_to_lambda _topics _fanout _body_lookup _subscribe _unsubscribe"),
    (sns, "_threading _deliver_to_sqs"),
    (secretsmanager, "_resolve"),
    (sqs, "_queue_by_arn _act_send_message _get_q _dispatch _queues _queue_name_to_url get_state reset"),
    (sqs, "_receive_messages_for_esm _delete_messages_for_esm"),
    (ssm, "_parameters"),
]
used = [(module, name) for module, listed in names for name in listed.split()]
missing = [f"{module.__name__}.{name}" for module, name in used if not hasattr(module, name)]
assert not missing, missing
before = dict(batch._DISPATCH)
from local_cloud.emulator import install
from local_cloud.access.credentials import Credentials
install(parallel=1, root=Credentials("AKIA", "secret"))
assert before["/v1/submitjob"] is not batch._DISPATCH["/v1/submitjob"]
kinds = ("ComputeEnvironment", "JobQueue", "JobDefinition")
assert all(f"AWS::Batch::{kind}" in provisioners._RESOURCE_HANDLERS for kind in kinds)
binary, script = lambda_runtime._detect_runtime_binary("python3.13")
assert "fork_keeper()" in script and "def run():" in script
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_all_that_an_invocation_logs_belongs_to_it_however_late_it_arrives() -> None:
    """The pipe of the log is slow here, as it is on a busy machine."""
    program = """
import io, json, os, time, zipfile
os.environ["GATEWAY_PORT"] = "4566"
from ministack.core import lambda_runtime
from local_cloud.lambda_functions.zip_workers import prepare_workers
prepare_workers()

def read_slowly(worker):
    for line in worker._proc.stderr:
        time.sleep(0.3)
        worker._stderr_queue.put(line.rstrip())
lambda_runtime.Worker._read_stderr = read_slowly

source = '''
import os, sys
def handler(event, context):
    print("first of", event)
    print("last of", event, end=chr(10) if event == "full line" else "")
    if event == "death":
        sys.stdout.flush()
        os._exit(1)
'''
code = io.BytesIO()
with zipfile.ZipFile(code, "w") as file:
    file.writestr("index.py", source)
config = {
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
    "FunctionName": "f",
    "Runtime": "python3.13",
    "Handler": "index.handler",
    "Timeout": 60,
}
worker = lambda_runtime.Worker("f", config, code.getvalue())
print(json.dumps([worker.invoke(event, event)["log"] for event in ("full line", "half line", "death")]))
worker.kill()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = [f"first of {event}\nlast of {event}" for event in ("full line", "half line", "death")]
    assert json.loads(done.stdout) == expected


def test_workers_share_the_layers_and_the_bytecode_that_python_stores_in_them(tmp_path: Path) -> None:
    program = """
import io, json, os, zipfile
os.environ["GATEWAY_PORT"] = "4566"
from ministack.core import lambda_runtime
from ministack.services import lambda_svc
from local_cloud.lambda_functions.zip_workers import prepare_workers
prepare_workers()

def zipped(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, text in files.items():
            file.writestr(name.replace("__", "/") + ".py", text)
    return content.getvalue()

layers = {layer: zipped(python__library=f"NAME = '{layer}'") for layer in ("one", "other")}
lambda_svc._resolve_layer_zip = layers.__getitem__
code = zipped(index='''
import os
was_compiled = os.path.exists(os.environ["_LAMBDA_LAYERS_DIRS"] + "/python/__pycache__")
import library
def handler(event, context):
    return [library.NAME, was_compiled, os.path.realpath(library.__cached__)]
''')

def answer(name, layer):
    config = {
        "FunctionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
        "FunctionName": name,
        "Runtime": "python3.13",
        "Handler": "index.handler",
        "Layers": [layer],
        "Timeout": 60,
    }
    worker = lambda_runtime.Worker(name, config, code)
    result = worker.invoke({}, "id")["result"]
    worker.kill()
    return result

print(json.dumps([answer("f", "one"), answer("g", "one"), answer("h", "other")]))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second, other = json.loads(done.stdout)
    assert (first[:2], second[:2], other[:2]) == (["one", False], ["one", True], ["other", False])
    assert first[2] == second[2] != other[2]
