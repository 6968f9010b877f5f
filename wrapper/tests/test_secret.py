"""Keys and webhook secrets: values that work, and that nothing shows."""

from unitask._core.secret import Secret


def test_secret_is_a_text_that_no_repr_shows() -> None:
    """It compares and is sent as what it is."""
    assert Secret("hush") == "hush"
    assert repr(Secret("hush")) == repr({"key": Secret("hush")})[8:-1] == "'***'"
