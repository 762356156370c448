"""What makes an id, a user alias and a UUID well formed."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aka.server.domain.identifiers import (
    Identifier,
    checked_id,
    checked_profile_id,
    checked_user_alias,
    checked_uuid,
    id_of,
    uuid_text,
)
from aka.server.errors import AkaError

UUID = "0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"


def refused_id(value: str) -> AkaError:
    with pytest.raises(AkaError) as refusal:
        checked_id(value, "alias_id")
    return refusal.value


def refused_user_alias(label: str, name: str) -> AkaError:
    with pytest.raises(AkaError) as refusal:
        checked_user_alias(label, name, label_field="alias_label", name_field="alias_name")
    return refusal.value


# Ids.


@pytest.mark.parametrize(
    "value", ["u", "a" * 400, "é" * 200, "stripe:cus_1", " padded ", "名前", "🙂", UUID, "e\u0301", "\u00a0", "\u200b"]
)
def test_an_id_is_any_text_of_up_to_400_bytes_and_kept_as_it_is(value: str) -> None:
    assert checked_id(value, "alias_id") == id_of(value) == Identifier("", value)


def test_a_missing_id_is_a_required_field() -> None:
    refusal = refused_id("")
    assert refusal.name == "FIELD_REQUIRED"
    assert refusal.message == "Missing required field: alias_id"
    assert refusal.metadata == {"field": "alias_id"}


@pytest.mark.parametrize("value", ["a" * 401, "é" * 200 + "a", "🙂" * 100 + "a"])
def test_an_id_of_401_bytes_is_too_long(value: str) -> None:
    refusal = refused_id(value)
    assert refusal.name == "INVALID_VALUE"
    assert refusal.metadata == {"field": "alias_id", "bytes": "401", "maximum": "400"}


@pytest.mark.parametrize("control", ["\x00", "\t", "\n", "\x1f", "\x7f", "\x80", "\x9f"])
@pytest.mark.parametrize("place", ["{}a", "a{}b", "a{}"])
def test_an_id_with_a_control_character_is_refused(place: str, control: str) -> None:
    refusal = refused_id(place.format(control))
    assert refusal.name == "INVALID_VALUE"
    assert refusal.field == "alias_id"


def test_a_control_character_is_told_by_its_number_and_never_shown() -> None:
    refusal = refused_id("a\x1bb")
    assert refusal.message == "alias_id has a control character (U+001B) at position 1"
    assert refusal.metadata == {"field": "alias_id", "character": "U+001B", "position": "1"}


@pytest.mark.parametrize("value", ["\ud800", "a\udfff", "\ud83d"])
def test_an_id_with_a_lone_surrogate_is_refused(value: str) -> None:
    refusal = refused_id(value)
    assert refusal.name == "INVALID_VALUE"
    assert refusal.field == "alias_id"


@given(st.text(st.characters(), max_size=420))
def test_an_id_is_refused_for_nothing_but_its_length_control_characters_and_lone_surrogates(value: str) -> None:
    categories = {unicodedata.category(character) for character in value}
    well_formed = value and not categories & {"Cc", "Cs"} and len(value.encode(errors="replace")) <= 400
    try:
        assert checked_id(value, "alias_id").name == value
    except AkaError:
        assert not well_formed
    else:
        assert well_formed


# User aliases.


def test_a_user_alias_has_a_label_and_a_name_of_up_to_236_bytes_each() -> None:
    label, name = "l" * 236, "é" * 118
    user_alias = checked_user_alias(label, name, label_field="alias_label", name_field="alias_name")
    assert user_alias == Identifier(label, name)


def test_a_user_alias_is_no_id_and_an_id_no_user_alias() -> None:
    assert not Identifier("crm", "7").is_id
    assert id_of("7").is_id


def test_a_name_of_237_bytes_is_too_long() -> None:
    refusal = refused_user_alias("crm", "é" * 118 + "a")
    assert refusal.name == "INVALID_VALUE"
    assert refusal.metadata == {"field": "alias_name", "bytes": "237", "maximum": "236"}


def test_a_label_of_237_bytes_is_too_long() -> None:
    refusal = refused_user_alias("l" * 237, "7")
    assert refusal.name == "INVALID_VALUE"
    assert refusal.metadata == {"field": "alias_label", "bytes": "237", "maximum": "236"}


@pytest.mark.parametrize(
    ("label", "name", "field"), [("crm", "", "alias_name"), ("", "7", "alias_label"), ("", "", "alias_name")]
)
def test_a_missing_label_or_name_is_a_required_field_the_name_first(label: str, name: str, field: str) -> None:
    refusal = refused_user_alias(label, name)
    assert refusal.name == "FIELD_REQUIRED"
    assert refusal.field == field


@pytest.mark.parametrize("bad", ["\x00", "\ud800"], ids=["control character", "lone surrogate"])
@pytest.mark.parametrize("field", ["alias_label", "alias_name"])
def test_a_label_or_name_that_is_not_plain_text_is_refused(field: str, bad: str) -> None:
    refusal = refused_user_alias(bad, "7") if field == "alias_label" else refused_user_alias("crm", bad)
    assert refusal.name == "INVALID_VALUE"
    assert refusal.field == field


# UUIDs.


@pytest.mark.parametrize("written", [UUID, UUID.upper(), UUID.title()])
def test_a_uuid_is_read_in_any_case_and_written_in_lower_case(written: str) -> None:
    assert uuid_text(checked_profile_id(written, "primary_user_id")) == UUID


@given(st.binary(min_size=16, max_size=16))
def test_sixteen_bytes_written_as_a_uuid_are_read_back(value: bytes) -> None:
    assert checked_uuid(uuid_text(value), "request_id") == value


@pytest.mark.parametrize(
    "written",
    [
        UUID.replace("-", ""),
        f"{{{UUID}}}",
        f"urn:uuid:{UUID}",
        f" {UUID}",
        f"{UUID}\n",
        UUID[:-1],
        f"{UUID}0",
        UUID.replace("a", "g"),
        UUID.replace("-", "–"),
        UUID.replace("0", "٠"),
        "0193a1b2c-3d4-7e5f-8a9b-0c1d2e3f4a5b",
        "user_123",
    ],
)
def test_anything_but_32_hexadecimal_digits_with_hyphens_is_no_uuid(written: str) -> None:
    with pytest.raises(AkaError) as refusal:
        checked_profile_id(written, "primary_user_id")
    assert refusal.value.name == "INVALID_VALUE"
    assert refusal.value.field == "primary_user_id"


def test_a_missing_uuid_is_a_required_field() -> None:
    with pytest.raises(AkaError) as refusal:
        checked_profile_id("", "primary_user_id")
    assert refusal.value.name == "FIELD_REQUIRED"
