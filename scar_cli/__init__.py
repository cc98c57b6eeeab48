"""The `scar` command: what people type, on AWS and on the embedded cloud alike.

    main.py      the door: finds the verb, loads it alone, and turns errors into one sentence and an exit code
    errors.py    what may go wrong, in words for people
    session.py   boto3 clients, and what their errors mean
    local.py     `scar local`: the embedded cloud
    put.py       `scar put`: files into a bucket
    sending.py   how they get there
    launch.py    `scar-launch`: one event per file that is there already
    validate.py  `scar validate`: an FDL file, without deploying it

A verb loads when it is used, so that `scar --help` answers at once.
"""
