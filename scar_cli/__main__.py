"""`python -m scar_cli` is `scar`."""

from scar_cli.main import main

main()
