"""docs/fdl.md, written from the schema, so that it cannot say anything else than the program does.

python -m fdl_schemas.docs            # writes it anew
python -m fdl_schemas.docs --check    # fails if it is stale

`introduction.md` is written by hand; `reference` makes the tables of keys from `fdl.schema.json`; the chapter
about diagnostics comes from `fdl_schemas/diagnostics/codes.md`.
"""
