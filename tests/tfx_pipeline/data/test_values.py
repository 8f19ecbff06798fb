import datetime
import uuid
from decimal import Decimal

import numpy as np
import pytest

from tfx_pipeline.data.values import ValueFault, as_bytes, as_integer, as_text, as_time

UTC = datetime.UTC


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (float("nan"), None),
        ("1001.0", "1001.0"),  # a text says what it says
        (42, "42"),
        (1001.0, "1001"),
        (np.float32(1001.0), "1001"),
        (2.5, "2.5"),
        (Decimal("1001.00"), "1001"),
        (True, "true"),
        ("红鞋".encode(), "红鞋"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
    ],
)
def test_text(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [
        ("a\0b", "bad_text", "holds a NUL character: 'a\\x00b'"),
        (b"a\xff", "invalid_utf8", "is not valid UTF-8 (byte 1)"),
        (b"caf\xe9s", "invalid_utf8", "is not valid UTF-8 (byte 3)"),
        ("a\ud83d", "invalid_utf8", "is not valid UTF-8 (byte 1)"),
        (["a"], "malformed_row", "is no text, but a list"),
        (
            1e17,
            "bad_text",
            "is the number 1e+17, which its type does not hold exactly: write it as text",
        ),
        (
            np.float32(2**24),
            "bad_text",
            "is the number 16777216.0, which its type does not hold exactly: write it as text",
        ),
        (
            float("inf"),
            "bad_text",
            "is the number inf, which its type does not hold exactly: write it as text",
        ),
    ],
)
def test_faults_of_text(value, reason, message):
    with pytest.raises(ValueFault) as fault:
        as_text(value)
    assert (str(fault.value.reason), fault.value.message) == (reason, message)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None),
        ("", None),
        (" ", None),
        (float("nan"), None),
        ("NaN", None),
        ("3", 3),
        (b" 3.0 ", 3),
        ("+3", 3),
        ("1e3", 1000),
        (3.0, 3),
        (Decimal("3.00"), 3),
        (True, 1),
        ("False", 0),
        ("9007199254740993", 2**53 + 1),
        (-(2**63), -(2**63)),
    ],
)
def test_integers(value, number):
    assert as_integer(value) == number


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2.5, "is not a whole number: '2.5'"),
        ("2.5", "is not a whole number: '2.5'"),
        ("0x10", "is not a whole number: '0x10'"),
        ("1_000", "is not a whole number: '1_000'"),
        ("1,000", "is not a whole number: '1,000'"),
        ("１", "is not a whole number: '１'"),
        (b"top", "is not a whole number: 'top'"),
        (float("inf"), "is not a whole number: 'inf'"),
        (2.0**53, "is not a whole number: '9007199254740992.0'"),
        ([1], "is not a whole number: '[1]'"),
        (2**63, "does not fit into 64 bits: '9223372036854775808'"),
        ("1e300", "does not fit into 64 bits: '1e300'"),
    ],
)
def test_faults_of_integers(value, message):
    with pytest.raises(ValueFault) as fault:
        as_integer(value)
    assert fault.value.message == message


MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
SECONDS = 1_704_164_645


@pytest.mark.parametrize(
    "value",
    [
        MOMENT,
        MOMENT.replace(tzinfo=None),
        "2024-01-02T03:04:05Z",
        "2024-01-02 03:04:05 UTC",
        b"2024-01-02T04:04:05+01:00",
        "20240102T030405Z",
        "20240102030405",
        20240102030405,
        SECONDS,
        str(SECONDS),
        float(SECONDS),
        f"{SECONDS}.0",
        SECONDS * 10**3,
        SECONDS * 10**6,
        str(SECONDS * 10**9),
    ],
)
def test_times(value):
    assert as_time(value) == MOMENT


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("20240102", datetime.datetime(2024, 1, 2, tzinfo=UTC)),
        (20240102, datetime.datetime(2024, 1, 2, tzinfo=UTC)),
        (20240102.0, datetime.datetime(2024, 1, 2, tzinfo=UTC)),
        ("2024-01-02", datetime.datetime(2024, 1, 2, tzinfo=UTC)),
        (datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 2, tzinfo=UTC)),
        ("202401020304", datetime.datetime(2024, 1, 2, 3, 4, tzinfo=UTC)),
        (946_684_800_000, datetime.datetime(2000, 1, 1, tzinfo=UTC)),
        (1704164645.25, datetime.datetime(2024, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)),
        ("", None),
        (float("nan"), None),
    ],
)
def test_dates_and_fractions(value, moment):
    assert as_time(value) == moment


@pytest.mark.parametrize(
    "value",
    [
        0,
        1,
        -5,
        2024,
        "202401",
        20241301,
        99999999,
        "2024010203",  # an hour, or seconds in 2034
        10**20,
        float("inf"),
        np.float32(SECONDS),
        True,
        "yesterday",
        "01/02/2024",
        "0001-01-01T00:00:00+01:00",
        "0000-00-00 00:00:00",
        [SECONDS],
    ],
)
def test_what_is_no_time_is_refused_and_never_1970(value):
    with pytest.raises(ValueFault) as fault:
        as_time(value)
    assert fault.value.message == (
        "is neither ISO 8601, nor YYYYMMDD, nor the time since 1970 in seconds, milli-, micro- "
        f"or nanoseconds: {str(value)!r}"
    )


DATA = bytes(range(240, 256)) + b"\xfb\xff"


@pytest.mark.parametrize(
    "value",
    [
        DATA,
        "8PHy8/T19vf4+fr7/P3+//v/",
        "8PHy8_T19vf4-fr7_P3-__v_",
        "8PHy8/T19vf4\r\n+fr7/P3+//v/\r\n",
        "data:image/jpeg;base64,8PHy8/T19vf4+fr7/P3+//v/",
        "DATA:image/png;charset=utf-8;base64,8PHy8%2FT19vf4%2Bfr7%2FP3%2B%2F%2Fv%2F",
        b"8PHy8/T19vf4+fr7/P3+//v/",
        b"data:image/jpeg;base64,8PHy8/T19vf4+fr7/P3+//v/",
    ],
)
def test_bytes(value):
    assert as_bytes(value) == DATA


@pytest.mark.parametrize("text", ["/w==", "/w=", "/w", "_w"])
def test_padding_may_be_missing(text):
    assert as_bytes(text) == b"\xff"


def test_bytes_that_only_begin_like_base64_stay_as_they_are():
    assert as_bytes(b"GIF89aGIF89aGIF8\xff") == b"GIF89aGIF89aGIF8\xff"
    assert as_bytes(b"") == b""
    assert as_bytes(None) is None
    assert as_bytes("") is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("not base64!", "is not base64: 'not base64!'"),
        ("b'/w=='", "is not base64: \"b'/w=='\""),
        ("AAAAA", "is not base64: 'AAAAA'"),
        ("AAAA AAAA", "is not base64: 'AAAA AAAA'"),
        ("data:image/svg+xml,<svg/>", "is not base64: 'data:image/svg+xml,<svg/>'"),
        (5, "is neither bytes nor base64, but of type int"),
    ],
)
def test_faults_of_bytes(value, message):
    with pytest.raises(ValueFault) as fault:
        as_bytes(value)
    assert (str(fault.value.reason), fault.value.message) == ("bad_base64", message)
