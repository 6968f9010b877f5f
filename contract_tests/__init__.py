"""The contract harness: do client and provider keep what is documented, and do these checks find it when they do not?

In the order of `make contract`: examples, status, errors, requests, prices, parity, provider, drift, layers, planted
faults.
"""
