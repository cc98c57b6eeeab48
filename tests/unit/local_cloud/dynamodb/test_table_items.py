"""Items of tables in ministack: what a restart finds, and tables of stacks. Each test has a process of its
own, as ministack is changed for good.
"""

from __future__ import annotations

from pathlib import Path

from tests.emulator_programs import result_in_block

START = """
import asyncio, json, os, sys, time
from pathlib import Path
os.environ.update(GATEWAY_PORT="4566")
from ministack.core import persistence
from ministack.core.responses import request_scope
from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners
from local_cloud.dynamodb import stack
from local_cloud.dynamodb.items import TableItems
from local_cloud.state.store import Store
store = Store(Path(sys.argv[1]) / "state.db")
items = TableItems(store)
items.install()
stack.install()
table = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
PROPS = {
    "TableName": "claims",
    "BillingMode": "PAY_PER_REQUEST",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True},
}
def call(action, **data):
    headers = {"x-amz-target": "DynamoDB_20120810." + action}
    answer = asyncio.run(dynamodb.handle_request("POST", "/", headers, json.dumps(data).encode(), {}))
    told = json.loads(answer[2])
    return told["__type"].rpartition("#")[2] if answer[0] >= 400 else told
def save():
    store.put("state", "dynamodb", json.dumps(dynamodb.get_state(), default=persistence._json_default))
def load():
    text = store.items("state")[0][1]
    dynamodb.load_persisted_state(json.loads(text, object_hook=persistence._json_object_hook))
    items.restore()
def put(key, **more):
    return call("PutItem", TableName="claims", Item={"id": {"S": key}}, **more)
def get(key):
    return call("GetItem", TableName="claims", Key={"id": {"S": key}}, ConsistentRead=True).get("Item")
NEW = {"ConditionExpression": "attribute_not_exists(id)"}
with request_scope("000000000000", "us-east-1"):
"""


def in_emulator(folder: Path, statements: str) -> object:
    return result_in_block(START, statements, str(folder))


def test_items_come_back_after_the_process_was_killed(tmp_path: Path) -> None:
    in_emulator(
        tmp_path,
        """
table["create"]("T", PROPS, "stack")
save()
for key in ("kept", "changed", "deleted"):
    put(key)
change = {"UpdateExpression": "SET n = :n", "ExpressionAttributeValues": {":n": {"N": "1"}}}
call("UpdateItem", TableName="claims", Key={"id": {"S": "changed"}}, **change)
call("DeleteItem", TableName="claims", Key={"id": {"S": "deleted"}})
refused = put("kept", **NEW)
members = [{"Put": {"TableName": "claims", "Item": {"id": {"S": key}}, **NEW}} for key in ("one", "kept")]
cancelled = call("TransactWriteItems", TransactItems=members, ClientRequestToken="first")
put_two = [{"Put": {"TableName": "claims", "Item": {"id": {"S": key}}, **NEW}} for key in ("one", "two")]
call("TransactWriteItems", TransactItems=put_two, ClientRequestToken="second")
store.put("state", "answers", json.dumps([refused, cancelled]))
result = None
""",
    )
    found = in_emulator(
        tmp_path,
        """
load()
result = [json.loads(store.items("state")[1][1])]
result.append([get(key) for key in ("kept", "changed", "deleted", "one", "two")])
result.append(call("DescribeTable", TableName="claims")["Table"]["ItemCount"])
result.append(put("one", **NEW))
""",
    )
    assert found == [
        ["ConditionalCheckFailedException", "TransactionCanceledException"],
        [
            {"id": {"S": "kept"}},
            {"id": {"S": "changed"}, "n": {"N": "1"}},
            None,
            {"id": {"S": "one"}},
            {"id": {"S": "two"}},
        ],
        4,
        "ConditionalCheckFailedException",
    ]


def test_the_items_of_a_deleted_table_are_gone(tmp_path: Path) -> None:
    assert in_emulator(
        tmp_path,
        """
table["create"]("T", PROPS, "stack")
put("a")
table["delete"]("claims", PROPS)
result = [store.items("item"), call("DescribeTable", TableName="claims")]
table["create"]("T", PROPS, "stack")
result.append(get("a"))
""",
    ) == [[], "ResourceNotFoundException", None]


def test_tables_of_stacks(tmp_path: Path) -> None:
    """Time to live, deletion protection, and a table that exists."""
    assert in_emulator(
        tmp_path,
        """
def refused(act, *arguments):
    try:
        act(*arguments)
    except ValueError as error:
        return str(error)
def time_to_live():
    return call("DescribeTimeToLive", TableName="claims")["TimeToLiveDescription"]["TimeToLiveStatus"]
table["create"]("T", PROPS, "stack")
put("a")
result = [time_to_live(), refused(table["create"], "T", PROPS, "other")]
without = {name: value for name, value in PROPS.items() if name != "TimeToLiveSpecification"}
protected = {**without, "DeletionProtectionEnabled": True}
table["update"]("claims", PROPS, protected, "stack")
result += [time_to_live(), refused(table["delete"], "claims", protected)]
result.append(get("a"))
""",
    ) == [
        "ENABLED",
        "Resource of type 'AWS::DynamoDB::Table' with identifier 'claims' already exists.",
        "DISABLED",
        "Table is protected against deletion. To delete the table, disable deletion protection.",
        {"id": {"S": "a"}},
    ]


def test_an_item_that_was_written_again_does_not_expire(tmp_path: Path) -> None:
    assert in_emulator(
        tmp_path,
        """
import threading
table["create"]("T", PROPS, "stack")
def expire(key):
    thread = threading.Thread(
        target=dynamodb._remove_item,
        args=(dynamodb._tables._data["000000000000", "us-east-1", "claims"], key, "__no_sort__"),
        name="dynamodb-ttl-reaper",
    )
    thread.start()
    thread.join()
for key, ttl in (("old", 1), ("new", int(time.time()) + 1000)):
    call("PutItem", TableName="claims", Item={"id": {"S": key}, "ttl": {"N": str(ttl)}})
    expire(key)
result = [get("old"), get("new") is not None, len(store.items("item"))]
""",
    ) == [None, True, 1]
