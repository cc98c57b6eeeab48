"""Prices of AWS: one dated table for the whole project.

    table.json   the table: USD per billed unit, by region, each with its source and its date
    table.py     reads it; `RegionPrices.usd("lambda_request")`
    offers.py    reads AWS's public price list, to refresh the table

The table is here because the command line and the constructs both use it, and import this package only.
"""
