"""The contract harness: do client and provider keep what is documented, and do these checks find it when they do not?

The columns of its table, and their order, are in conftest.py; what others can run, too, is unitask_contract.
"""
