"""The sandbox's own sign check, against signs that official and public SDKs agreed on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.sandbox.signature import is_signed, sign_of

VECTORS = Path(__file__).parents[1] / "vectors" / "tmc" / "sign.json"


def vectors() -> list[dict[str, Any]]:
    loaded = json.loads(VECTORS.read_text("utf-8"))["vectors"]
    assert len(loaded) >= 20, f"{VECTORS} has lost its vectors"
    return list(loaded)


def test_agreed_signs_come_out() -> None:
    agreed = [vector for vector in vectors() if vector["sign"]]
    assert {vector["sign_method"] for vector in agreed} == {"md5", "hmac", "hmac-sha256"}
    for vector in agreed:
        sign = sign_of(vector["params"], vector["secret"], vector["sign_method"])
        assert sign == vector["sign"], vector["id"]


def test_a_changed_parameter_or_secret_makes_a_sign_wrong() -> None:
    calls = [vector for vector in vectors() if vector["sign"] and "sign_method" in vector["params"]]
    assert len(calls) >= 10
    for vector in calls:
        signed = {**vector["params"], "sign": vector["sign"]}
        assert is_signed(signed, vector["secret"]), vector["id"]
        assert not is_signed({**signed, "app_key": "1"}, vector["secret"]), vector["id"]
        assert not is_signed(signed, vector["secret"] + "0"), vector["id"]


def test_both_readings_of_blank_values_are_right() -> None:
    disputed = [vector for vector in vectors() if not vector["sign"]]
    assert disputed
    for vector in disputed:
        for variant in vector["variants"]:
            assert is_signed({**vector["params"], "sign": variant["sign"]}, vector["secret"]), vector["id"]


@pytest.mark.parametrize("sign_method", [{}, {"sign_method": "sha1"}, {"sign_method": ""}])
def test_without_a_known_method_nothing_is_signed(sign_method: dict[str, str]) -> None:
    assert not is_signed({"app_key": "1", "sign": "", **sign_method}, "secret")
    assert not is_signed({"app_key": "1", "sign": "0" * 64, **sign_method}, "secret")


def test_a_sign_in_lower_case_is_wrong() -> None:
    vector = next(vector for vector in vectors() if vector["sign"] and "sign_method" in vector["params"])
    assert is_signed({**vector["params"], "sign": vector["sign"]}, vector["secret"])
    assert not is_signed({**vector["params"], "sign": vector["sign"].lower()}, vector["secret"])
