"""The comparison of clients: the server counts every request, and the row of unitask is as promised."""

from benchmarks.clients.collect import ROWS, Result, drive
from benchmarks.clients.server import SUBMISSIONS, serving


def test_unitask_sends_one_submission_waits_on_and_shows_no_key() -> None:
    with serving() as (url, arrivals):
        unitask = Result("unitask", drive("unitask", url), arrivals)

    cells = {row: unitask.cell(row) for row in ROWS if row != "import"}
    assert {cells[row] for row in SUBMISSIONS} == {"1; raises `SubmissionUncertain`"}
    waits = ("unknown-word", "poll-page", "poll-closed")
    assert {cells[row] for row in waits} == {"waits on, returns the result"}
    assert all(cells[row].endswith("; task id in the message") for row in ("outage", "endless"))
    assert (cells["repr"], cells["attributes"]) == ("no", "no")
