from __future__ import annotations

import base64
import hmac
import time
import typing as t

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flask_chatwoot.errors import SignatureError
from flask_chatwoot.payloads.signature import TOLERANCE, sign, verify

SECRET = "whsec_example_123"
MOMENT = 1_750_000_000
TIMESTAMP = str(MOMENT)
BODY = (
    r'{"event":"message_created","id":1,"content":"\u003cb\u003eGrüße\u003c/b\u003e"}'
).encode()
SIGNATURE = "sha256=36fe0aede2ae2680c35250b0831aa10722e6e20845a99087fba14bc142728ca0"

HOSTILE_TIMESTAMPS = [
    *("", " ", "\0", "9" * 400, "0" * 13, "9" * 5000),
    *("-" + TIMESTAMP, "+" + TIMESTAMP, " " + TIMESTAMP, TIMESTAMP + " "),
    *(TIMESTAMP + "\n", f"{TIMESTAMP},{TIMESTAMP}", f"{TIMESTAMP}, {TIMESTAMP}"),
    *("1_750_000_000", "1750000000.0", "1.75e9", "0x684ee180", "nan", "inf"),
    *("Sun, 15 Jun 2025 15:06:40 GMT", "１７５００００００", "١٧٥٠٠٠٠٠٠٠"),
    *("²" * 10, "vorgestern ü", "\udcff\udcfe"),
]

HOSTILE_SIGNATURES = [
    *("", " ", "sha256=", "sha256", "=", "\0" * 71, "sha256=\udcff"),
    *(SIGNATURE.removeprefix("sha256="), SIGNATURE.upper(), SIGNATURE[:-1]),
    *(SIGNATURE + " ", " " + SIGNATURE, SIGNATURE.replace("sha256", "sha1")),
    SIGNATURE.replace("sha256=", "sha256=sha256="),
    *(f"{SIGNATURE},{SIGNATURE}", f"{SIGNATURE}, {SIGNATURE}", f"v1,{SIGNATURE}"),
    *("sha256=" + digits for digits in ("0" * 64, "ß" * 64, "０" * 64, "0" * 100_000)),
]


def check(body: bytes = BODY, **values: t.Any) -> None:
    usual: dict[str, t.Any] = {"secrets": (SECRET,), "signature": SIGNATURE}
    verify(body, **(usual | {"timestamp": TIMESTAMP, "now": MOMENT} | values))


def refused(body: bytes = BODY, match: str = "", **values: t.Any) -> str:
    with pytest.raises(SignatureError, match=match or None) as caught:
        check(body, **values)

    return str(caught.value)


def test_the_known_vector_is_signed_and_verified() -> None:
    assert len(BODY) == 81
    assert sign(BODY, secret=SECRET, timestamp=TIMESTAMP) == SIGNATURE
    check()


@pytest.mark.parametrize("timestamp", HOSTILE_TIMESTAMPS)
def test_a_hostile_timestamp_is_refused_even_when_it_is_signed(timestamp: str) -> None:
    honest = timestamp.encode(errors="replace") + b"." + BODY
    signature = "sha256=" + hmac.digest(SECRET.encode(), honest, "sha256").hex()

    refused(timestamp=timestamp, signature=signature)
    refused(timestamp=timestamp, signature=signature, now=None)  # the real clock


@pytest.mark.parametrize("signature", HOSTILE_SIGNATURES)
def test_a_hostile_signature_is_refused(signature: str) -> None:
    refused(signature=signature)


@pytest.mark.parametrize("missing", ["signature", "timestamp", "signature timestamp"])
def test_no_signature_is_refused(missing: str) -> None:
    values: dict[str, t.Any] = dict.fromkeys(missing.split())
    refused(match="not signed", **values)


@settings(deadline=None)
@given(st.text(), st.text())
def test_any_other_header_is_refused(signature: str, timestamp: str) -> None:
    refused(signature=signature, timestamp=timestamp)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_delivery_is_fresh_for_five_minutes_on_both_sides(side: int) -> None:
    for seconds in (0, 1, 299.9, 300):
        check(now=MOMENT + side * seconds)

    for seconds in (300.1, 301, 86_400, 10**9):
        refused(match="old", now=MOMENT + side * seconds)


def test_a_signature_is_compared_with_the_clock() -> None:
    for check_it, age in ((check, 0), (refused, TOLERANCE + 60)):
        moment = str(int(time.time() - age))
        signature = sign(BODY, secret=SECRET, timestamp=moment)
        check_it(signature=signature, timestamp=moment, now=None)


@pytest.mark.parametrize("secrets", [(SECRET, "new"), ("a", "b", SECRET)])
def test_any_of_several_secrets_is_accepted(secrets: tuple[str, ...]) -> None:
    check(secrets=secrets)


@pytest.mark.parametrize("secrets", [(), ("",), ("x", SECRET + " "), (SECRET.upper(),)])
def test_other_secrets_do_not_match(secrets: tuple[str, ...]) -> None:
    refused(match="does not match", secrets=secrets)


def test_the_timestamp_is_signed() -> None:
    body_alone = hmac.digest(SECRET.encode(), BODY, "sha256").hex()

    refused(signature=f"sha256={body_alone}")
    refused(timestamp=str(MOMENT + 1))


def test_a_secret_is_not_decoded() -> None:
    secret = base64.urlsafe_b64encode(b"twenty-four bytes of key").decode()
    signed = TIMESTAMP.encode() + b"." + BODY
    decoded = hmac.digest(base64.urlsafe_b64decode(secret), signed, "sha256").hex()

    refused(secrets=(secret,), signature=f"sha256={decoded}")
    check(secrets=(secret,), signature=sign(BODY, secret=secret, timestamp=TIMESTAMP))


@settings(deadline=None)
@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_a_change_of_any_byte_is_refused(place: int, difference: int) -> None:
    forged = bytearray(BODY)
    forged[place] ^= difference
    refused(bytes(forged))


@settings(deadline=None)
@example(BODY, "schlüssel-ключ")
@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_signed_is_verified(body: bytes, secret: str) -> None:
    signature = sign(body, secret=secret, timestamp=TIMESTAMP)
    check(body, secrets=(secret,), signature=signature)


def test_a_refusal_quotes_neither_secret_nor_signature() -> None:
    error = refused(secrets=("another",))
    assert not [text for text in ("another", SIGNATURE) if text in error]
