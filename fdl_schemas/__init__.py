"""The Function Definition Language: from the text of an FDL file to a validated `Workflow`.

The text passes these stations, one module each:

1. `source` reads the file; `composer` (with `scalars` and `syntax`) makes a `document` of it: plain data,
and where each key and value stands; 2. `schema` checks that data, by `validator`, against
`fdl.schema.json`, which is the language for people's editors too; `explain` finds the words; 3. `build`
fills in the defaults and makes the frozen objects of `model`; 4. `rules`, `storage_rules` and
`batch_rules`, with `names` and `fargate`, check what a schema cannot say: files, names, limits of AWS;
`graph`, with `components`, finds out which function triggers which, and loops; `without_meaning` warns; 5.
`not_supported_yet` refuses what the language has and the constructs have not learned yet.

Each station notes what it finds in `findings`, as `diagnostics`. `load` is the public door:
`load_workflow(path)` gives a `Workflow` or raises `FdlError`, and `check(path)` gives both the workflow and
everything there is to say.

Beside the way stand those who tell people about it: `codes` explains each diagnostic (in `codes.md`), `sarif`
writes them for code hosts, `picture` draws the workflow, and `docs` writes docs/fdl.md.

Nothing here loads the CDK or the AWS SDK, or touches the network.
"""
