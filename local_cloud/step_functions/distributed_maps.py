"""Step Functions' distributed maps in JSONata, with batches; and Lambda invoked by them without waiting.

ministack's maps read fields in JSONPath only, ignore `ItemBatcher`, and wait for a function whose
`InvocationType` is `Event`. Here, the items are first selected and put into batches, which then are the map's
items; events are put into the queue of asynchronous invocations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ministack.services import lambda_svc, stepfunctions

from local_cloud.patches import Original, replaces

State = dict[str, Any]
_KEPT = ("Label", "ToleratedFailureCount", "ToleratedFailurePercentage", "Next", "End")
_DEFAULT_BYTES = 256 * 1024


def install() -> None:
    """Put ourselves in front of what ministack does."""
    replaces(stepfunctions, "_run_distributed_map")(_run_map)
    replaces(stepfunctions, "_invoke_resource")(_invoke_resource)


def batches(items: list[Any], batcher: dict[str, Any]) -> Iterator[list[Any]]:
    """Items in batches with a maximum number of items, and an approximate number of bytes."""
    most = int(batcher.get("MaxItemsPerBatch") or len(items) or 1)
    room = int(batcher.get("MaxInputBytesPerBatch") or _DEFAULT_BYTES)
    batch: list[Any] = []
    size = 0
    for item in items:
        length = len(json.dumps(item))
        if batch and (len(batch) == most or size + length > room):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


def _run_map(run: Original, state: State, given: Any, *more: Any) -> Any:
    _effective, iterator, execution, context = more
    if stepfunctions._state_query_language(state, context) != "JSONata":
        return run(state, given, *more)
    items = _selected(state, given, context)
    batcher = state.get("ItemBatcher")
    groups = list(batches(items, batcher)) if batcher else [[item] for item in items]
    inputs = [{"Items": group} for group in groups] if batcher else items
    plain = {name: state[name] for name in _KEPT if name in state}
    if "MaxConcurrency" in state:
        plain["MaxConcurrency"] = stepfunctions._jsonata_state_field(
            state, "MaxConcurrency", "number", given, context
        )
    results, following = run(plain, inputs, inputs, iterator, execution, context)
    _count_items(execution, plain.get("Label"), [len(group) for group in groups], results)
    output = stepfunctions._apply_jsonata_output(state, given, context, result=results, default=results)
    stepfunctions._apply_state_assign(state, given, context, result=results)
    return output, following


def _selected(state: State, given: Any, context: State) -> list[Any]:
    if "ItemReader" in state:
        items = stepfunctions._read_map_items(state["ItemReader"], given, context)
    else:
        items = stepfunctions._jsonata_state_field(state, "Items", "array", given, context)
    if "ItemSelector" not in state:
        return list(items)
    return [
        stepfunctions._apply_jsonata_template(
            state["ItemSelector"], given, {**context, "Map": {"Item": {"Index": index, "Value": item}}}
        )
        for index, item in enumerate(items)
    ]


def _count_items(execution: State, label: str | None, sizes: list[int], results: list[Any]) -> None:
    """Make `DescribeMapRun` count items instead of batches."""
    failed = sum(size for size, result in zip(sizes, results, strict=True) if result is None)
    for run in stepfunctions._map_runs.values():
        if run["executionArn"] == execution["executionArn"] and f"/{label}:" in run["mapRunArn"]:
            total = sum(sizes)
            run["itemCounts"].update(total=total, succeeded=total - failed, failed=failed)


def _invoke_resource(invoke: Original, resource: str, arguments: Any) -> Any:
    if "states:::lambda:invoke" not in resource or arguments.get("InvocationType") != "Event":
        return invoke(resource, arguments)
    reference = stepfunctions._resolve_lambda_function_ref(arguments.get("FunctionName", ""), optimized=True)
    function, config, name = lambda_svc._get_func_record_for_ref(reference)
    if not function or not config:
        raise stepfunctions._ExecutionError("Lambda.ResourceNotFoundException", f"Function not found: {name}")
    record = lambda_svc._execution_record_for_config(function, config)
    lambda_svc.invoke_async_with_retry(record, arguments.get("Payload", {}))
    return {"StatusCode": 202, "Payload": {}}
