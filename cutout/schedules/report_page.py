"""A report as a self-contained HTML page: no script, no external resources, all foreign text escaped."""

from collections.abc import Iterable
from html import escape

from cutout.schedules.report import Report

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } .soft { opacity: .7; }
.state { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; color: #fff; background: #9a6700; }
.succeeded { background: #1a7f37; } .failed { background: #cf222e; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .5rem; margin: 1rem 0; }
dl div { background: var(--soft); border-radius: .5rem; padding: .5rem .75rem; }
dt { font-size: .8rem; opacity: .7; } dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3rem .5rem .3rem 0; }
tr { border-bottom: 1px solid var(--line); vertical-align: top; } .number { text-align: right; }
"""
PICTURES = ("new", "changed", "again", "unchanged", "vanished", "rejected", "skipped")
JOBS = ("succeeded", "failed", "held", "queued", "running", "cancelled")


def page(report: Report) -> str:
    """The report as HTML, UTF-8."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(report.schedule)} {report.fire_at:%Y-%m-%d}: {_state_text(report.state)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{escape(report.schedule)} <span class="state {report.state}">{_state_text(report.state)}</span></h1>
<p class="soft">{report.fire_at:%Y-%m-%d %H:%M} UTC{_took(report)}, from {escape(report.source)}</p>
{f"<p>{escape(report.note)}</p>" if report.note else ""}
<h2>Credits</h2>
{_tiles({"charged": report.charged, "perhaps charged": report.unknown, "saved by reuse": report.saved})}
<h2>Pictures</h2>
{_tiles({name: report.counts.get(name, 0) for name in PICTURES})}
<h2>Jobs</h2>
{_tiles({name: report.counts[name] for name in JOBS if report.counts.get(name)})}
{_skipped(report)}
{_troubles(report)}
{_slowest(report)}
{_files(report)}
</body>
</html>
"""


def _state_text(state: str) -> str:
    return state.replace("_", " ")


def _took(report: Report) -> str:
    if report.seconds is None:
        return ""
    minutes, seconds = divmod(round(report.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f", {hours} h {minutes} min" if hours else f", {minutes} min {seconds} s"


def _tiles(figures: dict[str, int]) -> str:
    if not figures:
        return '<p class="soft">none</p>'
    tiles = (f"<div><dt>{escape(name)}</dt><dd>{figure:,}</dd></div>" for name, figure in figures.items())
    return f"<dl>{''.join(tiles)}</dl>"


def _skipped(report: Report) -> str:
    rows = ([f"{found['count']:,}", found["reason"], ", ".join(found["names"])] for found in report.skipped)
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in report.remarks)
    return remarks + _table("Files that were not taken", ["files", "reason", "for example"], rows)


def _troubles(report: Report) -> str:
    rows = (
        [f"{trouble.jobs:,}", trouble.state, trouble.code, trouble.message or ""]
        for trouble in report.troubles
    )
    return _table("What stopped", ["jobs", "state", "code", "for example"], rows)


def _slowest(report: Report) -> str:
    rows = ([f"{call.seconds:.1f} s", call.external_id or ""] for call in report.slowest)
    return _table("Slowest calls", ["took", "picture"], rows)


def _files(report: Report) -> str:
    rows = (
        [name, key] for name, key in (("results", report.results_key), ("rejects", report.rejects_key)) if key
    )
    return _table("In the bucket", ["file", "key"], rows)


def _table(title: str, head: list[str], rows: Iterable[list[str]]) -> str:
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    if not lines:
        return ""
    headings = "".join(f"<th>{escape(word)}</th>" for word in head)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<h2>{escape(title)}</h2><table><tr>{headings}</tr>{body}</table>"
