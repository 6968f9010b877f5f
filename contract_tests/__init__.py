"""The tests of client and provider against the contract; unitask_contract is the part that ships."""
