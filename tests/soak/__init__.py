"""Many jobs while a seeded killer strikes at random and an operator acts; an audit of what became of them.

`python -m tests.soak --help` lists the options; `make soak` runs it.
"""
