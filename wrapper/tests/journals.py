"""A row in each state, and what a journal of either kind then has."""

from unitask._core.journal import Journal, Row, RowState, Totals

ROWS = [
    Row(0, "d", RowState.SENDING, '{"sent": 1}', None, 10, 0, None),
    Row(1, "d", RowState.SENT, '{"sent": 1}', "task 1", 10, 0, None),
    Row(2, "d", RowState.DONE, '{"sent": 1}', "task 2", 0, 7, "{}", ("a.jpg", "ü \udcff.jpg")),
    Row(3, "d", RowState.FAILED, '{"sent": 1}', "task 3", 0, 0, '"no face"'),
    Row(4, "d", RowState.UNKNOWN, '{"sent": 1}', "task 4", 10, 0, '"unclear"'),
]
TOTALS = Totals(30, 7, dict.fromkeys(RowState, 1))


def fill(journal: Journal) -> None:
    """Write `ROWS`, and one that is withdrawn."""
    for key in range(6):
        journal.intent(key, "d", '{"sent": 1}', 10).result()
    for key in range(1, 5):
        journal.accepted(key, f"task {key}").result()
    journal.ended(2, RowState.DONE, "{}", 7).result()
    journal.written(2, ["a.jpg", "ü \udcff.jpg"]).result()
    journal.ended(3, RowState.FAILED, '"no face"', 0).result()
    journal.ended(4, RowState.UNKNOWN, '"unclear"', 0).result()
    journal.withdrawn(5).result()
