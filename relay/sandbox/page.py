"""One page for people: what arrived, newest first, and how the calls went. Plain HTML, no script, all escaped."""

from __future__ import annotations

from collections import Counter
from html import escape

from relay.sandbox.platform import Platform
from relay.sandbox.records import AcceptedMessage, CallRecord
from relay.showing import escaped

MAX_SHOWN = 200
COLUMNS = ("id", "received", "topic", "content", "app key", "request id", "index")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fafafa; max-width: 76rem; margin: 2rem auto;
       padding: 0 1rem }
h1 { font-size: 1.4rem; margin-bottom: 0 } p { color: #555 } code { font-size: .9em }
dl { display: flex; flex-wrap: wrap; gap: .75rem } dl div { background: #fff; border: 1px solid #ddd;
     border-radius: .5rem; padding: .4rem .9rem }
dt { color: #666; font-size: .8rem } dd { margin: 0; font-size: 1.3rem }
table { border-collapse: collapse; width: 100%; background: #fff; border: 1px solid #ddd }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-top: 1px solid #eee }
th { background: #f1f1f1; font-weight: 600 } td.content { word-break: break-word; font-family: ui-monospace, monospace;
     font-size: .85em } .empty { text-align: center; padding: 2rem; color: #777 }
"""


def render_page(platform: Platform) -> str:
    """The page as it stands now, with at most 200 messages."""
    newest = platform.messages[: -MAX_SHOWN - 1 : -1]
    rows = "".join(_row(message) for message in newest)
    empty = f'<tr><td class="empty" colspan="{len(COLUMNS)}">Nothing has arrived yet.</td></tr>'
    heads = "".join(f"<th>{name}</th>" for name in COLUMNS)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>relay sandbox</title>'
        f"<style>{STYLE}</style></head><body><h1>relay sandbox</h1>"
        "<p>Plays <code>taobao.tmc.messages.produce</code> at <code>/router/rest</code>. "
        'As JSON: <a href="/messages">/messages</a>, <a href="/calls">/calls</a>.</p>'
        f"<dl>{_counts(platform)}</dl><p>Faults: {_faults(platform)}</p>"
        f"<p>{_extent(len(newest), len(platform.messages))}</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows or empty}</tbody></table></body></html>"
    )


def _counts(platform: Platform) -> str:
    ends = Counter(_end(call) for call in platform.calls)
    counts = {"messages accepted": len(platform.messages), "calls": len(platform.calls), **ends}
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{count}</dd></div>" for name, count in counts.items())


def _end(call: CallRecord) -> str:
    """How a call ended, in the words of the page."""
    if call.status is None:
        return "calls cut"
    if call.status != 200:
        return f"calls answered HTTP {call.status}"
    if call.code is not None:
        return f"calls answered {call.code} {call.sub_code or ''}".rstrip()
    return "calls processed in full" if call.accepted == call.count else "calls processed in part"


def _faults(platform: Platform) -> str:
    return ", ".join(f"<code>{escape(text)}</code>" for text in platform.faults) or "none"


def _extent(shown: int, total: int) -> str:
    return f"The newest {shown} of {total} messages." if shown < total else f"All {total} messages, newest first."


def _row(message: AcceptedMessage) -> str:
    time = message.received_at[11:23]
    plain = (message.id, time, message.topic)
    after = (message.app_key, message.request_id, message.index)
    content = f'<td class="content">{escape(escaped(message.content))}</td>'
    return f"<tr>{_cells(plain)}{content}{_cells(after)}</tr>"


def _cells(values: tuple[object, ...]) -> str:
    return "".join(f"<td>{escape(escaped(str(value)))}</td>" for value in values)
