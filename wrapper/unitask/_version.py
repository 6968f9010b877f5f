__version__ = "0.1.0"  # as in pyproject.toml; a zip or a copy of the source has no metadata
