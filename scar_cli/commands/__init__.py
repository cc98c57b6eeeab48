"""The verbs of `scar`, one module each, and `scar-launch` (`launch`).

advise.py      better sizes of functions, from their runs
completion.py  shell completion
cost.py        what a workflow costs
diff.py        what a deployment would change
explain.py     what a diagnostic code means
get.py         download files
graph.py       draw a workflow
image.py       build images without Docker
init.py        deploy
invoke.py      call an HTTP endpoint
launch.py      `scar-launch`: events for files that exist already
local.py       start and stop the embedded cloud
log.py         logs of Lambda and Batch
ls.py          list functions or files
new.py         create a folder with a workflow
put.py         upload files
report.py      what ran, as an HTML file
retry.py       send the contents of failure queues again
rm.py          delete stacks
run.py         run a function
status.py      what is queued, running, done and failed
validate.py    check FDL files
watch.py       a workflow while it runs
"""
