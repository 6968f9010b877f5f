"""The server of the comparison at scale: a task ends at its fourth poll, and its end is counted once."""

import json

from benchmarks.scale.server import Provider


def test_task_ends_at_its_fourth_poll_in_the_form_of_each_client() -> None:
    provider = Provider(None)
    for client, ended in (("unitask", '"completed"'), ("openai", '"completed"'), ("runwayml", '"SUCCEEDED"')):
        _, made = provider.answer(b"POST", f"/{client}/tasks".encode(), b"host.test")
        task = made[made.index(b"ID-") :][:13]
        polls = [provider.answer(b"GET", f"/{client}/tasks/".encode() + task, b"")[1].decode() for _ in range(5)]
        assert [ended in body for body in polls] == [False, False, False, True, True]

    assert json.loads(provider.answer(b"GET", b"/_ends", b"")[1]) == [[0.0, 4]] * 3
    assert json.loads(provider.answer(b"GET", b"/_ends", b"")[1]) == []
