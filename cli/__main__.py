"""`python -m cli` is `cutout`."""

from cli.main import main

main()
