"""What there is to exercise of the contract, and what was.

branches.py has the branches of a schema, instances.py values that take them all; counting.py counts what went over the
wire; sweep.py says everything once.
"""
