"""Each verb as a user has it: in a new interpreter, which has imported nothing yet. Other tests fork theirs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from relay.cli.verbs import VERBS
from tests.acceptance.outbox import Outbox, numbered
from tests.docs.markdown import blocks
from tests.docs.test_readme import WITH_BLOCKS
from tests.fixtures.processes import StartRelay

HERE = {"config", "dashboard", "sandbox", "discard", "redact", "show", "topics"}
ELSEWHERE = {"demo": "test_demo.py", "version": "test_streams.py"}
MESSAGES = """
import relay

class TradeTrace(relay.Topic, topic="taobao_jds_TradeTrace"):
    tid: int
"""


def test_each_verb_is_executed_somewhere() -> None:
    """By a block of a document, in a test of its own, or below."""
    run = [block.text for path in WITH_BLOCKS for block in blocks(path) if block.language == "sh" and not block.reason]
    documented = {verb for text in run for verb in re.findall(r"^relay (\w+)", text, re.MULTILINE)}
    assert documented | HERE | ELSEWHERE.keys() == VERBS.keys()
    for verb, file in ELSEWHERE.items():
        assert f'"{verb}"' in (Path(__file__).parent / file).read_text(encoding="utf-8")


def test_verbs_that_no_document_runs(
    outbox: Outbox, env: dict[str, str], execute_relay: StartRelay, tmp_path: Path
) -> None:
    (tmp_path / "shop_messages.py").write_text(MESSAGES)
    outbox.insert(numbered(1))
    sandbox = execute_relay("sandbox", "--port", "0")
    dashboard = execute_relay("dashboard", "--port", "0", env=env)
    configured = execute_relay("config", "--json", env=env)
    reason = ("1", "--reason", "r")
    discarded = execute_relay("discard", *reason, env=env)
    schema = execute_relay("topics", "--schema", "shop_messages", cwd=tmp_path)
    assert discarded.wait() == 0, discarded.report()
    redacted = execute_relay("redact", *reason, env=env)
    assert redacted.wait() == 0, redacted.report()
    shown = execute_relay("show", "1", "--json", env=env)
    assert [shown.wait(), schema.wait()] == [0, 0], shown.report() + schema.report()

    assert json.loads("\n".join(shown.stdout))["status"] == "failed"
    assert outbox.select("select action from relay.action order by id") == [("discard",), ("redact",)]
    assert list(json.loads("\n".join(schema.stdout))["topics"]) == ["taobao_jds_TradeTrace"]
    assert configured.wait() == 0, configured.report()
    assert json.loads("\n".join(configured.stdout))
    assert sandbox.wait_for_line(r"RELAY_TMC_URL=(\S+)", "stdout")
    assert dashboard.wait_for_line(r"The dashboard is at http://")
