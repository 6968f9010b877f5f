"""Record real traffic, and use it: to check the contract, to answer again, and to learn durations."""
