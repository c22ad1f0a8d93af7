"""`python -m vitprof`."""

from vitprof.cli import main

main()
