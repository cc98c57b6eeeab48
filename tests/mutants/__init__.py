"""Small faults that the tests must notice (`make mutants`).

mutant.py     one fault, and the lists of them in `lists/SUBJECT.toml`
tree_copy.py  a copy of the tree, with one fault at a time
"""
