"""Published clients of such services, and unitask, against one server that fails: `make bench-clients`."""
