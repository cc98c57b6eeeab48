"""The `scar` command: what people type, on AWS and on the embedded cloud alike.

    main.py      the door: finds the verb, loads it alone, and turns errors into one sentence and an exit code
    errors.py    what may go wrong, in words for people
    session.py   boto3 clients, and what their errors mean
    deployed.py  what is deployed, from the stacks' outputs
    table.py     text for a terminal
    examples.py  lines to copy, at the end of a verb's help
    cdk.py       the cdk command line as a process, and what it has synthesized
    init.py      `scar init`: deploy
    from_flags.py a function from flags, as an FDL text
    diff.py      `scar diff`: what that would change
    changes.py   what a deployment changes, in words
    template.py  a template as people read it
    rights.py    who may do what by it
    rm.py        `scar rm`: delete
    ls.py        `scar ls`: functions, or files
    run.py       `scar run`: a function, now
    invoke.py    `scar invoke`: the same through its HTTP endpoint
    log.py       `scar log`: Lambda's and Batch's logs as one
    status.py    `scar status`: what is queued, running, done, failed
    retry.py     `scar retry`: what is in the failure queues, again
    local.py     `scar local`: the embedded cloud
    put.py       `scar put`: files into a bucket
    sending.py   how they get there
    get.py       `scar get`: files out of a bucket
    receiving.py how they come, and why none lands outside of its folder
    launch.py    `scar-launch`: one event per file that is there already
    completion.py `scar completion`: for shells
    validate.py  `scar validate`: an FDL file, without deploying it

A verb loads when it is used, so that `scar --help` answers at once.
"""
