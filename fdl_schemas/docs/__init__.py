"""Generates docs/fdl.md from the schema, so that it always matches the program.

python -m fdl_schemas.docs            # writes the file
python -m fdl_schemas.docs --check    # fails if the file is out of date

`introduction.md` is written by hand, and `reference` generates the tables of keys from `fdl.schema.json`.
`diagnostics` generates the pages of the documentation site from `fdl_schemas/diagnostics/codes.md`.
"""
