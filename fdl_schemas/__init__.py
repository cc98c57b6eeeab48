"""The Function Definition Language: from the text of an FDL file to a validated `Workflow`.

The text passes these stations, one module each:

1. `source` reads the file and parses YAML into plain data, and remembers where each key and value stands;
2. `schema` checks that data against `fdl.schema.json`, which is the language for people's editors too;
3. `build` fills in the defaults and makes the frozen objects of `model`;
4. `rules`, with `names` and `fargate`, checks what a schema cannot say: files, names, limits of AWS;
   `graph` finds out which function triggers which, and loops;
5. `not_supported_yet` refuses what the language has and the constructs have not learned yet.

Each station reports what it finds as `diagnostics`. `load` is the public door: `load_workflow(path)` gives a
`Workflow` or raises `FdlError`, and `check(path)` gives both the workflow and everything there is to say.

Nothing here loads the CDK or the AWS SDK, or touches the network.
"""
