"""Published clients of such services, and unitask, against one local server that plays failures."""
