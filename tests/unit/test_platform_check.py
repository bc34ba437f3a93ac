"""What the answer to a call without messages proves about the credentials, and what it does not."""

from __future__ import annotations

import json

import pytest

from relay.checks import State
from relay.tmc import read_answer
from relay.tmc.probe import judged

ANSWERS = [
    ({"code": 40, "msg": "Missing required arguments:messages"}, State.OK, "accepts key, secret and session"),
    ({"code": "40", "msg": "missing required argument: messages"}, State.OK, "accepts key, secret and session"),
    ({"code": 40, "sub_code": "isv.missing-parameter:messages"}, State.OK, "accepts key, secret and session"),
    ({"code": 40, "msg": "Missing required arguments:session"}, State.WARN, "says nothing of the session"),
    ({"code": 40, "msg": "Missing required arguments"}, State.WARN, "says nothing of the session"),
    ({"code": 40, "sub_code": "isv.missing-parameter:topic"}, State.WARN, "says nothing of the session"),
    ({"code": 41, "msg": "Invalid arguments:messages"}, State.WARN, "says nothing of the session"),
    ({"code": 41, "sub_code": "isv.invalid-parameter"}, State.WARN, "says nothing of the session"),
    ({"code": 15, "sub_code": "isv.user-not-exist"}, State.WARN, "says nothing of the session"),
    ({"code": 15, "sub_code": "CD01"}, State.WARN, "says nothing of the session"),
    ({"code": 40, "sub_code": "isv.missing-parameter:session"}, State.FAIL, "refuses the credentials"),
    ({"code": 15, "sub_code": "isv.persistent-session-not-exist"}, State.FAIL, "refuses the credentials"),
    ({"code": 27, "sub_code": "session-expired"}, State.FAIL, "refuses the credentials"),
    ({"code": 11, "sub_code": "isv.permission-api-package-limit"}, State.FAIL, "refuses the credentials"),
    ({"code": 7, "sub_code": "accesscontrol.limited-by-api-access-count"}, State.WARN, "makes the account shop wait"),
    ({"code": 31, "msg": "Invalid timestamp"}, State.FAIL, "cannot read our requests"),
    ({"code": 15, "sub_code": "isp.unknown-error"}, State.FAIL, "gives no answer"),
    ({"code": 10}, State.FAIL, "gives no answer"),
]


@pytest.mark.parametrize(("error", "state", "says"), ANSWERS, ids=[json.dumps(error) for error, _, _ in ANSWERS])
def test_only_the_missing_messages_prove_that_the_session_is_accepted(
    error: dict[str, object], state: State, says: str
) -> None:
    answer = read_answer(200, json.dumps({"error_response": error}).encode(), count=0, request_bytes=0)
    found = judged(answer, "shop")
    assert (found.state, says in found.sentence) == (state, True), found


def test_somebody_else_who_answers_is_described() -> None:
    page = b"<html><title>Please log in</title></html>"
    found = judged(read_answer(200, page, count=0, request_bytes=0, content_type="text/html"), "shop")
    assert found.state is State.FAIL
    assert 'an HTML page titled "Please log in" (text/html, 41 bytes)' in found.sentence


def test_an_answer_without_a_refusal_is_no_platform() -> None:
    found = judged(read_answer(200, b'{"is_all_success":true}', count=0, request_bytes=0), "shop")
    assert found.state is State.WARN
