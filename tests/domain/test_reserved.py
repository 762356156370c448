"""The values that bugs send as ids, and how an operator writes another list of them."""

import pytest

from aka.server.domain.identifiers import Identifier, id_of
from aka.server.domain.reserved import ReservedList
from aka.server.domain.rules import Rules
from aka.server.errors import AkaError
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import RULES, World, alias

ANY_CASE = [
    "anonymous",
    "anonymous_id",
    "guest",
    "distinct_id",
    "distinctid",
    "id",
    "not_authenticated",
    "email",
    "undefined",
    "true",
    "false",
    "user",
    "user_id",
    "visitor",
    "visitor_id",
]
EXACTLY = ["[object Object]", "NaN", "None", "none", "null", "0", "-1"]
BLANKS_ZEROS_AND_DASHES = [
    " ",
    "   ",
    "\u00a0",
    "\u3000",
    "00",
    "0000000000",
    "-",
    "--",
    "- -",
    "0-0",
    " 0 ",
    "00000000-0000-0000-0000-000000000000",
]


@pytest.mark.parametrize("value", ANY_CASE)
def test_a_word_that_bugs_send_is_reserved_in_any_case(value: str) -> None:
    for written in (value, value.upper(), value.title(), value.swapcase()):
        assert written in RULES.reserved


@pytest.mark.parametrize("value", EXACTLY)
def test_a_literal_that_bugs_send_is_reserved(value: str) -> None:
    assert value in RULES.reserved


@pytest.mark.parametrize("value", ["NULL", "Null", "NAN", "nan", "NONE", "[object object]", "[OBJECT OBJECT]"])
def test_a_literal_in_another_case_is_not_reserved(value: str) -> None:
    assert value not in RULES.reserved


@pytest.mark.parametrize("value", BLANKS_ZEROS_AND_DASHES)
def test_blanks_zeros_and_dashes_in_any_mix_are_reserved(value: str) -> None:
    assert value in RULES.reserved


@pytest.mark.parametrize("quote", ["'", '"', "`"])
@pytest.mark.parametrize("value", [*ANY_CASE, *EXACTLY, *BLANKS_ZEROS_AND_DASHES, "Guest"])
def test_a_reserved_value_in_one_pair_of_quotes_is_reserved(value: str, quote: str) -> None:
    assert f"{quote}{value}{quote}" in RULES.reserved


@pytest.mark.parametrize("value", ["''", '""', "``"])
def test_quotes_with_nothing_in_them_are_reserved(value: str) -> None:
    assert value in RULES.reserved


@pytest.mark.parametrize("value", ["'null\"", "'null", "null'", "''null''", "(null)", "xnullx", "'"])
def test_other_quotes_are_not_taken_off(value: str) -> None:
    assert value not in RULES.reserved


@pytest.mark.parametrize(
    "value",
    [
        "1",
        "-2",
        "00000000-0000-0000-0000-000000000001",
        "user_1",
        "guest1",
        " guest",
        "null ",
        "anonymous-id",
        "u",
        "O",
    ],
)
def test_a_value_that_only_resembles_a_reserved_one_is_an_id(value: str) -> None:
    assert value not in RULES.reserved


@pytest.mark.parametrize("user_alias", [Identifier("null", "undefined"), Identifier("crm", "0")])
def test_labels_and_names_may_have_any_value(user_alias: Identifier) -> None:
    RULES.refuse_reserved(user_alias, "alias_name")


def test_a_reserved_id_is_refused_with_its_field_and_value() -> None:
    with pytest.raises(AkaError) as refusal:
        RULES.refuse_reserved(id_of("'Guest'"), "anonymous_id")
    assert refusal.value.metadata == {"field": "anonymous_id", "value": "'Guest'"}


# Another list.


def test_an_operators_list_takes_the_place_of_ours(world: World) -> None:
    world.identified("u")
    rules = Rules(reserved=ReservedList.parse("exactly test-user"))
    assert world.refused(alias("u", "test-user", rules=rules)).name == "RESERVED_IDENTIFIER"
    assert world.do(alias("u", "null", rules=rules)).outcome == v1.OUTCOME_LINKED


def test_a_list_has_one_rule_a_line() -> None:
    listed = ReservedList.parse("any-case Nobody\nexactly N/A\npattern test-[0-9]+\n")
    assert all(value in listed for value in ("NOBODY", "nobody", "N/A", "test-12"))
    assert not any(value in listed for value in ("n/a", "test-", "a test-1", "test-1\n"))


def test_blank_lines_and_lines_that_begin_with_a_number_sign_say_nothing() -> None:
    assert ReservedList.parse("# any-case nobody\n\n   \n") == ReservedList()


def test_a_value_may_have_blanks_in_it() -> None:
    assert "not known" in ReservedList.parse("exactly not known")


def test_an_empty_list_reserves_nothing() -> None:
    assert "null" not in ReservedList.parse("")


def test_each_pattern_stands_alone() -> None:
    listed = ReservedList.parse("pattern (?i)qa-.*\npattern (.)\\1+\npattern a|b\n")
    assert all(value in listed for value in ("QA-7", "zzz", "a", "b"))
    assert not any(value in listed for value in ("zy", "ab", "Zz", "A"))


@pytest.mark.parametrize("line", ["nobody", "any-case", "exactly ", "Exactly x", "prefix x"])
def test_a_line_that_is_no_rule_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is no rule"):
        ReservedList.parse(f"exactly x\n{line}")


def test_a_pattern_that_is_no_regular_expression_is_named() -> None:
    with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
        ReservedList.parse("pattern (")
