"""Messages of a served policy: what goes in comes out, and nothing else is made of any bytes."""

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from appliance.serving.contract import Contract
from appliance.serving.wire import KINDS, Malformed, pack, unpack
from tests.serving import CONTRACT


@given(
    arrays.arrays(some.sampled_from(sorted(KINDS)), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
def test_an_array_comes_back_as_it_was(array: Any) -> None:
    for sent in (array, array.T):
        found = unpack(pack({"a": sent}))["a"]
        assert (found.dtype, found.shape, found.tobytes()) == (sent.dtype, sent.shape, sent.tobytes())
        assert not found.flags.writeable


@given(
    some.binary(max_size=200) | some.binary(max_size=200).map(lambda rest: b"\x81\xa1a\x84\xc4\x0b__ndarray__" + rest)
)
def test_any_bytes_are_a_message_or_refused(content: bytes) -> None:
    try:
        found = unpack(content)
    except Malformed:
        return
    assert isinstance(found, dict)


def array_of(**changed: Any) -> bytes:
    """An array of two numbers as openpi writes it, but for what is changed."""
    said = {"__ndarray__": True, "dtype": "<f4", "shape": [2], "data": bytes(8)} | changed
    return bytes(msgpack.packb({"a": {name.encode(): value for name, value in said.items()}}))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"dtype": "|O"}, "an array of '|O'"),
        ({"dtype": "<c8"}, "an array of"),
        ({"dtype": "|V8"}, "an array of"),
        ({"dtype": "<M8[s]"}, "an array of"),
        ({"dtype": [["a", "<f4"]]}, "an array of"),
        ({"dtype": None}, "an array of None"),
        ({"shape": [3]}, "cannot have 8 bytes"),
        ({"shape": [-2]}, r"shape \[-2\]"),
        ({"shape": [True, 2]}, "shape"),
        ({"shape": [2.0]}, "shape"),
        ({"shape": 2}, "shape"),
        ({"shape": [2] + [1] * 8}, "shape"),
        ({"shape": [1 << 62, 1 << 62]}, "cannot have"),
        ({"data": "text"}, "cannot have str bytes"),
        ({"data": None}, "cannot have NoneType bytes"),
    ],
)
def test_an_array_that_is_none_is_refused(changed: dict[str, Any], why: str) -> None:
    assert unpack(array_of())["a"].tolist() == [0, 0]
    with pytest.raises(Malformed, match=why.replace("|", r"\|")):
        unpack(array_of(**changed))


@pytest.mark.parametrize("content", ["text", b"", b"\x01", b"\x90", b"\x81\x01\x02", b"\x81\xa1a", b"\xc1" * 9])
def test_what_is_no_message_is_refused_and_words_are_passed_on(content: str | bytes) -> None:
    with pytest.raises(Malformed, match="it says 'text'" if content == "text" else None):
        unpack(content)


def test_one_number_of_a_kind_is_read_as_openpi_writes_it() -> None:
    def of(kind: str, data: Any) -> bytes:
        return bytes(msgpack.packb({"n": {b"__npgeneric__": True, b"dtype": kind, b"data": data}}))

    found = unpack(of("<f4", 0.5))["n"]
    assert (type(found), found) == (np.float32, 0.5)
    for wrong in (of("|u1", 300), of("<f4", "0.5"), of("|O", 1)):
        with pytest.raises(Malformed):
            unpack(wrong)


@pytest.mark.parametrize(
    "value", [object(), np.zeros(1, "c8"), np.zeros(1, [("t", "<i8")]), np.array([object()]), {1, 2}]
)
def test_what_is_neither_plain_nor_numbers_is_never_sent(value: Any) -> None:
    with pytest.raises(TypeError, match="a message holds"):
        pack({"a": value})


def test_a_contract_comes_back_as_it_was_said() -> None:
    assert Contract.said(unpack(pack(CONTRACT.facts))) == CONTRACT


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"appliance": 2}, "protocol 1"),
        ({"appliance": None}, "protocol 1"),
        ({"senses": {"cameras": ["front"]}}, "TypeError"),
        ({"hz": "fast"}, "ValueError"),
        ({"fields": [1]}, "AttributeError"),
        ({"body": None}, "TypeError"),
    ],
)
def test_a_server_that_says_something_else_is_none_of_ours(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed, match=why):
        Contract.said(CONTRACT.facts | changed)


@pytest.mark.parametrize(
    "actions", [None, np.zeros((3, 7)), np.zeros(8), np.zeros((0, 8)), np.full((3, 8), np.inf), [[0.0] * 8]]
)
def test_an_answer_that_is_no_plan_is_never_followed(actions: Any) -> None:
    from tests.test_serving import seen

    assert len(CONTRACT.plan({"actions": np.zeros((3, 8))}, seen())) == 4
    with pytest.raises(Malformed, match="actions"):
        CONTRACT.plan({"actions": actions}, seen())
