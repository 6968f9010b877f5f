"""What `make spec-report` says of a small spec."""

from typing import Any

from generator.report import evidence, settled_by


def test_fields_count_by_their_surest_evidence_and_the_open_ones_name_what_would_settle_them() -> None:
    def schema(**sources: list[str]) -> dict[str, Any]:
        return {"type": "object", "properties": {name: {"x-source": given} for name, given in sources.items()}}

    page, body, code, guess = (
        {"evidence": word, "page": "", "date": ""} for word in ("documented", "recorded", "client", "inferred")
    )
    tasks = [
        {"name": "Draw", "family": "art", "input": "Wish", "output": "Picture", "price": {"x-source": ["body"]}},
        {"name": "Paint", "family": "art", "input": "Wish", "output": "Unknown"},
    ]
    document = {
        "x-sources": {"page": page, "body": body, "code": code, "guess": guess},
        "x-tasks": tasks,
        "components": {
            "schemas": {
                "Wish": schema(text=["page", "body"], size=["code", "page"], mood=["code"], luck=["guess"]),
                "Picture": schema(url=["body"]),
                "Unknown": schema(),
                **dict.fromkeys(("TaskEnvelope", "TaskRequest", "ErrorEnvelope", "Acknowledgement"), schema()),
            }
        },
    }

    assert evidence(document)["art"] == {"recorded": 2, "documented": 1, "client": 1, "inferred": 1}
    assert list(settled_by(document, tasks)) == [
        "a page, or a recorded answer that echoes the input, of Draw or 1 alike (2)",
        "a recorded answer of a completed Paint (no field)",
        "a bill of Paint",
    ]
