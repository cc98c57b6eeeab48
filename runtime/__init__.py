"""The runner: one event in, one run of the user's container for each of its objects, the files that it
left out.

The same code runs in AWS Lambda, in an AWS Batch job and on the embedded cloud, and it is packaged alone:
nothing here imports another room. In the order in which an event passes:

1. a door: `handler` (Lambda calls `runtime.handler.handle`) or `batch_job` (Batch starts `python3 -m
   runtime.batch_job`). It reads `config` (what was deployed) and knows how its caller is answered;
2. `events` (with `http_events`): the event as it came → `Invocation`s to run, and what is only acknowledged;
3. `job`, once for each invocation, in a folder of its own (`workspace`):
   stage in (`storage`) → image ready (`images`) → run (`command`, `environment`, `engines`) → stage out
   (`outputs`, `storage`) → result;
4. in modes `batch` and `lambda-batch`, `delegation` hands an invocation over to AWS Batch.

`logs` writes one JSON line for each stage and one summary for each invocation, and passes the container's own
output on. `errors` holds the one kind of error that a person is meant to read. boto3 is imported where it is
first used, never at the top: users pay for every import of a cold start.
"""
