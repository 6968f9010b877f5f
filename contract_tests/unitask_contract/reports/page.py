"""The report as one page that needs nothing else."""

from __future__ import annotations

import html
from collections.abc import Iterator

from unitask_contract.counter import ALL
from unitask_contract.patches.proposals import Kind
from unitask_contract.reports.report import FAILED, Report, columns, left_out, money, share, table
from unitask_contract.runner import GENERAL, Outcome

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .6rem;border:1px solid #ddd;text-align:left}
td.kept{background:#e8f5e9}td.failed{background:#ffebee;font-weight:600}td.out{color:#777}
pre{background:#f6f6f6;padding:.8rem;overflow:auto}pre.seen{white-space:pre-wrap;overflow-wrap:anywhere}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
"""


_MEANING = """<p>The answers were held to the contract of the unified generation-task API.
<b>Broken</b>: what came is not what is promised; it is shown under "What was seen". Mend the provider, or, if it is the
spec that is wrong, apply the proposed change. <b>Could not run</b>: no usable answer came, so nothing is known.
<b>Left out</b>: not asked, with the reason; that is neither kept nor broken.</p>"""


def as_html(report: Report) -> str:
    """The report as one page that needs nothing else."""
    title = html.escape(report.subject)
    body = [f"<h1>{html.escape(report.verdict)}</h1><p>{title}"]
    body += [
        "" if report.seed is None else f", seed {report.seed}",
        f"</p>{_MEANING}",
        *_cause(report),
        *_table(report),
    ]
    body += [*_general(report), *_files(report), *_details(report), *_differences(report)]
    body += [*_reasons(report), *_coverage(report)]
    body += [f"<p>{html.escape(line)}</p>" for line in money(report)]
    head = (
        f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>unitask contract: {title}</title>"
    )
    return (
        f"<!DOCTYPE html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _cause(report: Report) -> Iterator[str]:
    if report.cause:
        yield f"<p><b>{html.escape(report.cause)}</b></p>"


def _table(report: Report) -> Iterator[str]:
    rows = list(table(report))
    if not rows:
        return
    titles = "".join(f"<th title='{html.escape(check.promise, quote=True)}'>{check.id}" for check in columns(report))
    yield f"<h2>Task types</h2><table><tr><th>family{titles}"
    for family, cells in rows:
        yield f"<tr><th>{html.escape(family)}"
        yield from (f"<td class={_class(*cell)}>{share(*cell)}" for cell in cells)
    yield "</table><details><summary>What each of them asks</summary><ul>"
    yield from (f"<li>{check.id}: {html.escape(check.promise)}" for check in columns(report))
    yield "</ul></details>"


def _class(kept: int, failed: int, _left_out: int) -> str:
    return "failed" if failed else "kept" if kept else "out"


def _general(report: Report) -> Iterator[str]:
    of_provider = [result for result in report.results if not result.subject]
    if of_provider:
        yield f"<h2>The whole provider</h2><table id={GENERAL}>"
        for result in of_provider:
            kind = {Outcome.KEPT: "kept", Outcome.LEFT_OUT: "out"}.get(result.outcome, "failed")
            said = result.detail if result.outcome is Outcome.LEFT_OUT else result.check.promise
            word = result.outcome.value
            word = f"<a href='#{result.check.id}'>{word}</a>" if result.outcome in FAILED else word
            yield f"<tr><th>{result.check.id}<td class={kind}>{word}<td>{html.escape(said)}"
        yield "</table>"


def _files(report: Report) -> Iterator[str]:
    if report.files or report.unread:
        yield "<h2>Recorded bodies</h2><table><tr><th>file<th>outcome<th>what it is about"
        for name, shown in report.files.items():
            forbidden = [one for one in shown if one.kind is not Kind.NEW_FIELD]
            kind, word = ("failed", "broken") if forbidden else ("kept", "fits")
            notes = [report.notes[name]] if name in report.notes else []
            told = "<br>".join(html.escape(str(one)) for one in (*notes, *shown))
            yield f"<tr><th>{html.escape(name)}<td class={kind}>{word}<td>{told}"
        for name, reason in report.unread.items():
            yield f"<tr><th>{html.escape(name)}<td class=failed>not read<td>{html.escape(reason)}"
        yield "</table>"


def _details(report: Report) -> Iterator[str]:
    failed = [result for result in report.results if result.outcome in FAILED]
    if failed:
        yield "<h2>What was seen</h2>"
    for result in failed:
        name = f"{result.check.id} {html.escape(result.subject)}".strip()
        yield f"<h3 id='{name.replace(' ', '-')}'>{result.outcome.value}: {name}</h3>"
        yield f"<p>{html.escape(result.check.promise)}</p><pre class=seen>{html.escape(result.detail)}</pre>"


def _reasons(report: Report) -> Iterator[str]:
    reasons = left_out(report)
    if reasons:
        yield "<h2>What was left out of the task types</h2><table><tr><th>reason<th>checks"
        for reason, names in reasons.items():
            yield f"<tr><td>{html.escape(reason)}<td>{html.escape(', '.join(names))}"
        yield "</table>"


def _differences(report: Report) -> Iterator[str]:
    if report.differences:
        yield "<h2>Differences to the spec</h2><table><tr><th>kind<th>family<th>difference"
        for one in report.differences:
            kind = "out" if one.kind is Kind.NEW_FIELD else "failed"
            yield f"<tr><td class={kind}>{one.kind.value}<td>{html.escape(one.family)}<td>{html.escape(str(one))}"
        yield "</table>"
    if report.patch:
        yield "<h2>Proposed change of the spec</h2><p>For the case that the provider is right and the spec is wrong: "
        yield "<code>--report FILE.patch</code>, then <code>git apply FILE.patch</code> in a checkout of unitask.</p>"
        yield f"<pre>{html.escape(report.patch)}</pre>"


def _coverage(report: Report) -> Iterator[str]:
    if report.coverage:
        kinds = list(report.coverage[ALL])
        yield f"<h2>Exercised of the contract</h2><table><tr><th>family{''.join(f'<th>{kind}' for kind in kinds)}"
        for family, row in report.coverage.items():
            cells = ("<td>{} of {}".format(*row[kind]) if kind in row else "<td>-" for kind in kinds)
            yield f"<tr><th>{html.escape(family)}{''.join(cells)}"
        yield "</table><details><summary>What was not</summary><ul>"
        yield from (f"<li>{html.escape(one)}" for one in report.missing)
        yield "</ul></details>"
