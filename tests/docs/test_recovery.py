"""docs/recovery.md: the statements of each step, run as they stand on rows from before and after."""

from __future__ import annotations

import re

from sqlalchemy import Connection, Engine, text

from tests.docs.markdown import ROOT

PAGE = ROOT / "docs" / "recovery.md"
IN_A_STEP = re.compile(r"^   ```sql\n(.*?)^   ```$", re.MULTILINE | re.DOTALL)

# As the page has it: gone back to 3 o'clock, and the workers stopped at 9.
MESSAGES = {
    "sent after three": ("pending", "2026-11-26 02:59+00", "2026-11-26 02:59+00"),
    "due at eight": ("pending", "2026-11-26 02:00+00", "2026-11-26 08:00+00"),
    "planned for later": ("pending", "2026-11-26 02:00+00", "2026-11-28 00:00+00"),
    "held before": ("pending", "2026-11-26 02:00+00", "infinity"),
    "failed before": ("failed", "2026-11-26 02:00+00", "2026-11-26 02:00+00"),
    "inserted since": ("pending", "2026-11-26 09:30+00", "2026-11-26 09:30+00"),
}
RESTORED = """
insert into relay.outbox (topic, content, status, created_at, available_at, created_xid, finished_at)
values (:topic, '{}', :status, :created, :due, '3', case when :status = 'failed' then now() end)
"""


def test_only_what_may_have_been_sent_already_is_chosen_and_held(engine: Engine) -> None:
    look, hold = (each for each in IN_A_STEP.findall(PAGE.read_text()) if "available_at <" in each)
    with engine.begin() as connection:
        for topic, (status, created, due) in MESSAGES.items():
            connection.execute(
                text(RESTORED),
                {"topic": topic, "status": status, "created": created, "due": due},
            )
        before = _due(connection)
        chosen = [row.topic for row in connection.execute(text(look))]
        connection.execute(text(hold))
        after = _due(connection)
    assert chosen == ["sent after three", "due at eight"]
    assert after == before | dict.fromkeys(chosen, "infinity")


def _due(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text("select topic, available_at::text from relay.outbox"))
    return {row.topic: row.available_at for row in rows}
