"""``relay check`` on accounts whose names look like others."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.fixtures.checked import Check
from tests.fixtures.rows import Rows

pytestmark = pytest.mark.usefixtures("check_settings")


def test_accounts_that_look_alike_are_told(check: Check, engine: Engine) -> None:
    rows = Rows(engine)
    for account in ("shop", "my shop", "\u65d7\u8230\u5e97\u3000\u4e00", "default"):
        rows.add(3, account=account)
        rows.add(2, account=account, key="k")
    (found,) = check()["account names"]
    assert found["state"] == "ok", found
    rows.add(2, account="shop\u00a0")
    rows.add(2, account="sh\u200dop", key="k")
    rows.add(2, account=" shop", key="k")
    rows.add(1, account="shop ")
    rows.add(1, account="done\u00a0")
    rows.run(
        "update relay.outbox set status = 'failed', error_code = 'x', finished_at = now() where account like 'done%'"
    )
    (found,) = check()["account names"]
    assert (found["state"], found["sentence"]) == (
        "warn",
        '" shop" looks like "shop"; "shop " looks like "shop"; "shop\\u00a0" looks like "shop"; 1 more',
    )
