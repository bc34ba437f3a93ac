"""One trace, from a business span in one process to the call that a worker makes in another, set up as documented."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.outbox import Outbox, assert_reconciled
from tests.fixtures.hostility import only_where_nothing_is_set
from tests.fixtures.processes import RelayProcess, StartRelay
from tests.fixtures.strict_platform import StrictPlatform

pytestmark = only_where_nothing_is_set("the sessions of the shop are an application's own")
pytest.importorskip("opentelemetry.sdk", reason="pip install -e '.[dev]' brings the SDK")

APPLICATION = """
import os, sqlalchemy, relay
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
trace.set_tracer_provider(provider)
engine = sqlalchemy.create_engine(os.environ["RELAY_DATABASE_URL"])
with trace.get_tracer("shop").start_as_current_span("place orders"), engine.begin() as connection:
    for n in range(50):
        relay.add(connection, "taobao_jds_TradeTrace", {"tid": n, "buyer": "swordfish"})
"""
INSTRUMENTED = [str(Path(sys.executable).parent / name) for name in ("opentelemetry-instrument", "relay")]

# The worker itself, whose spans stay in memory until it has ended.
IN_MEMORY = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from relay.cli import main

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
try:
    main()
finally:
    print(*(span.to_json() for span in exporter.get_finished_spans()))
"""


def spans(lines: list[str]) -> Iterator[dict[str, Any]]:
    """As the SDK writes them to a console, one object after the other."""
    text, decoder = "\n".join(lines).strip(), json.JSONDecoder()
    while text:
        found, end = decoder.raw_decode(text)
        yield found
        text = text[end:].lstrip()


@pytest.mark.parametrize("how", [{"command": INSTRUMENTED}, {"program": IN_MEMORY}], ids=["as documented", "in memory"])
def test_a_trace_goes_from_the_business_span_to_the_call_with_a_link_for_each_message(
    how: dict[str, Any],
    outbox: Outbox,
    platform: StrictPlatform,
    env: dict[str, str],
    start_relay: StartRelay,
) -> None:
    shop = RelayProcess(env=env, program=APPLICATION)
    assert shop.wait() == 0, shop.report()
    (business,) = [span for span in spans(shop.stdout) if span["name"] == "place orders"]
    created = {span["context"]["span_id"]: span for span in spans(shop.stdout) if span["name"].startswith("create")}
    assert {span["name"] for span in created.values()} == {"create taobao_jds_TradeTrace"}
    assert {span["parent_id"] for span in created.values()} == {business["context"]["span_id"]}

    exporting = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    worker = RelayProcess("run", "--drain", env={**env, **exporting}, **how)
    assert worker.wait() == 0, worker.report()

    (sent,) = [span for span in spans(worker.stdout) if span["name"] == "send taobao_jds_TradeTrace"]
    linked = {link["context"]["span_id"]: link for link in sent["links"]}
    assert len(sent["links"]) == 50
    assert set(linked) == set(created)
    assert {link["context"]["trace_id"] for link in sent["links"]} == {business["context"]["trace_id"]}
    assert sent["context"]["trace_id"] != business["context"]["trace_id"]
    ids = {span: one["attributes"]["messaging.message.id"] for span, one in created.items()}
    assert {span: link["attributes"]["messaging.message.id"] for span, link in linked.items()} == ids
    told = sent["attributes"]
    assert (told["messaging.batch.message_count"], told["messaging.system"]) == (50, "taobao_tmc")
    assert told["relay.outcomes"] == ["done"] * 50
    assert told["relay.oldest_outbox_seconds"] > 0
    assert sent["kind"] == "SpanKind.CLIENT"
    (line,) = [json.loads(line) for line in worker.stderr if '"event": "call"' in line]
    assert f"0x{line['trace_id']}" == sent["context"]["trace_id"]
    assert f"0x{line['span_id']}" == sent["context"]["span_id"]
    assert "swordfish" not in "".join([*shop.stdout, *worker.stdout])
    assert_reconciled(outbox, platform)

    message_id = outbox.scalar("select min(id) from relay.outbox")
    shown = start_relay(
        "show", str(message_id), "--json", env={**env, "RELAY_TRACE_URL": "https://traces.example.com/t/{trace_id}"}
    )
    assert shown.wait() == 0, shown.report()
    trace_id = business["context"]["trace_id"].removeprefix("0x")
    assert json.loads("\n".join(shown.stdout))["trace"] == f"https://traces.example.com/t/{trace_id}"
