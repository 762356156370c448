"""The graph, running decisions over it together, and the journal's changes summed up and taken back."""

from itertools import count

import pytest

from aka.server.domain.changes import Change, Created, Identified, Linked, Merged, Unlinked
from aka.server.domain.graph import Graph, Link, Missing, Profile
from aka.server.domain.identifiers import id_of, uuid_text
from aka.server.domain.journal import Counts, History
from aka.server.domain.rules import Answer
from aka.server.errors import AkaError
from aka.server.store.store import AnsweredBefore, Once
from aka.v1 import alias_service_pb2 as v1
from tests.domain.world import UNKNOWN, World, alias, call, create_alias, delete_alias, identify, pair, profile_id

A, B, C, D = map(profile_id, (1, 2, 3, 4))
NOW = 1000


def empty_graph() -> Graph:
    numbers = count(100)
    return Graph(NOW, lambda: profile_id(next(numbers)))


# What is loaded.


def test_a_key_that_was_not_loaded_is_a_bug_and_not_free() -> None:
    graph = empty_graph()
    with pytest.raises(KeyError):
        graph.find(id_of("a"))
    with pytest.raises(KeyError):
        graph.link_of(id_of("a"))
    with pytest.raises(KeyError):
        graph.find(A)


def test_a_key_that_was_loaded_and_is_nobodys_is_free() -> None:
    graph = empty_graph()
    graph.add_free([id_of("a"), A])
    assert graph.find(id_of("a")) is None
    assert graph.link_of(id_of("a")) is None
    assert graph.find(A) is None


def test_a_key_that_is_somebodys_is_not_made_free() -> None:
    graph, header = empty_graph(), Profile(A, None, 1, 0, 0, 1, 1)
    graph.add_link(id_of("a"), Link(A, False, 1), header)
    graph.add_free([id_of("a"), A])
    assert graph.find(id_of("a")) == graph.find(A) == header


def test_a_tombstone_and_what_was_linked_to_it_resolve_to_the_survivor() -> None:
    graph, survivor = empty_graph(), Profile(B, "b", 2, 0, 1, 1, 1)
    graph.add_link(id_of("a"), Link(A, False, 1), survivor)
    assert graph.find(id_of("a")) == graph.find(A) == graph.find(B) == survivor


def test_a_tombstone_is_not_living() -> None:
    graph, survivor = empty_graph(), Profile(B, "b", 2, 0, 1, 1, 1)
    graph.add_profile(A, survivor)
    assert graph.living(A) is None
    assert graph.living(B) == survivor


def test_labels_that_were_not_loaded_are_missing() -> None:
    graph, header = empty_graph(), Profile(A, None, 2, 2, 0, 1, 1)
    graph.add_profile(A, header)
    with pytest.raises(Missing) as missing:
        graph.labels(header)
    assert missing.value.profile == A
    graph.add_labels(A, [pair("crm", "1"), pair("tax", "2")])
    assert graph.labels(header) == {"crm": "1", "tax": "2"}


def test_a_profile_without_user_aliases_has_no_labels_to_load() -> None:
    graph, header = empty_graph(), Profile(A, "a", 1, 0, 0, 1, 1)
    graph.add_profile(A, header)
    assert graph.labels(header) == {}


def test_labels_that_are_loaded_late_lack_what_was_unlinked_since() -> None:
    graph = empty_graph()
    graph.add_link(pair("crm", "1"), Link(A, False, 1), Profile(A, None, 2, 2, 0, 1, 1))
    graph.fold(Unlinked(A, pair("crm", "1"), A, False, 1))
    graph.add_labels(A, [pair("crm", "1"), pair("tax", "2")])
    header = graph.find(A)
    assert header is not None
    assert graph.labels(header) == {"tax": "2"}


def test_labels_of_merged_profiles_are_loaded_by_the_profiles_that_the_store_still_has() -> None:
    graph = empty_graph()
    graph.add_profile(A, Profile(A, "a", 1, 0, 0, 1, 1))
    graph.add_profile(B, Profile(B, None, 2, 1, 0, 1, 1))
    graph.fold(Created(C, id_of("c"), True, False))
    graph.fold(Merged(B, A, None, 1, 1, False))
    graph.fold(Merged(A, C, "a", 1, NOW, False))
    assert graph.parts(C) == (A, B)


# Running decisions over one graph.


def test_what_was_decided_is_seen_by_the_next_of_a_batch(world: World) -> None:
    made, linked = world.batch(identify("u"), create_alias(pair("crm", "7"), "u"))
    assert linked == Answer(v1.OUTCOME_LINKED, made.profile_id, "u")


def test_what_was_decided_is_seen_by_the_next_caller(world: World) -> None:
    first, second = world.group(call(create_alias("x")), call(alias("x", "a")))
    assert [first[0].outcome, second[0].outcome] == [v1.OUTCOME_CREATED, v1.OUTCOME_LINKED]


def test_a_refusal_writes_nothing_and_its_neighbours_go_on(world: World) -> None:
    first, refusal, third = world.batch(identify("u"), alias("nobody", "b"), alias("u", "a"))
    assert isinstance(refusal, AkaError)
    assert (first.outcome, third.outcome) == (v1.OUTCOME_CREATED, v1.OUTCOME_LINKED)
    assert world.whose("b") is None


def test_merges_one_after_the_other_leave_every_tombstone_one_step_from_the_last_survivor(world: World) -> None:
    a, b, c = world.anonymous("x"), world.anonymous("y"), world.identified("u")
    world.batch(alias("x", "y"), alias("u", "x"))
    assert world.survivors == {a: c, b: c, c: c}


def test_an_identifier_freed_by_one_caller_may_be_linked_by_the_next(world: World) -> None:
    world.identified("u", "a")
    other = world.identified("other")
    world.group(call(delete_alias("a")), call(alias("other", "a")))
    assert world.whose("a") == other


@pytest.mark.parametrize("preloads", [False, True])
def test_a_label_freed_by_one_caller_may_be_used_by_the_next(world: World, preloads: bool) -> None:
    world.preloads = preloads
    user = world.identified("u", pair("crm", "1"), pair("tax", "1"))
    world.group(call(delete_alias(pair("crm", "1"))), call(create_alias(pair("crm", "2"), "u")))
    assert world.whose(pair("crm", "2")) == user


def test_a_label_that_an_earlier_merge_of_the_group_brought_is_taken(world: World) -> None:
    world.identified("u")
    world.anonymous("x", pair("crm", "1"))
    _, refusal = world.batch(alias("u", "x"), create_alias(pair("crm", "2"), "u"))
    assert refusal.name == "LABEL_TAKEN"


def test_a_label_of_a_profile_that_was_made_in_the_group_is_taken(world: World) -> None:
    world.identified("u", pair("crm", "8"))
    _, [refusal] = world.group(call(create_alias(pair("crm", "7"))), call(identify("u", pair("crm", "7"))))
    assert refusal.name == "LABEL_TAKEN"


def test_a_label_that_a_profile_made_in_the_group_brought_is_taken(world: World) -> None:
    world.identified("u")
    _, [merged], [refusal] = world.group(
        call(create_alias(pair("crm", "7"))),
        call(identify("u", pair("crm", "7"))),
        call(create_alias(pair("crm", "8"), "u")),
    )
    assert (merged.outcome, refusal.name) == (v1.OUTCOME_MERGED, "LABEL_TAKEN")


def test_labels_of_two_profiles_that_are_to_be_joined_are_asked_for(world: World) -> None:
    world.preloads = False
    world.identified("u", pair("crm", "1"), pair("tax", "1"))
    world.anonymous("x", pair("crm", "2"), pair("erp", "2"))
    assert world.refused(alias("u", "x")).name == "LABEL_TAKEN"


# Validating only.


def test_validate_only_changes_nothing(world: World) -> None:
    world.identified("u")
    before = world.state
    world.do(alias("u", "a"), validate_only=True)
    assert world.state == before
    assert world.journal == []


def test_validate_only_answers_with_the_profiles_that_there_are(world: World) -> None:
    user, other = world.identified("u"), world.anonymous("x")
    assert world.do(alias("u", "x"), validate_only=True) == Answer(v1.OUTCOME_MERGED, user, "u", other)


def test_validate_only_leaves_the_id_of_what_would_be_made_empty(world: World) -> None:
    assert world.do(create_alias("x"), validate_only=True) == Answer(v1.OUTCOME_CREATED, None, "")


def test_validate_only_leaves_the_id_of_what_would_be_made_and_merged_empty(world: World) -> None:
    user = world.identified("u")
    _, merged = world.batch(create_alias("x"), identify("u", "x"), validate_only=True)
    assert merged == Answer(v1.OUTCOME_MERGED, user, "u", None)


def test_a_refusal_while_validating_does_not_tell_the_id_of_what_would_be_made(world: World) -> None:
    user = world.identified("u")
    _, refusal = world.batch(create_alias(pair("crm", "7")), create_alias(pair("crm", "7"), "u"), validate_only=True)
    assert refusal.name == "ALIAS_TAKEN"
    assert refusal.metadata == {"user_profile_id": uuid_text(user)}


def test_the_next_item_of_a_validated_batch_sees_the_one_before(world: World) -> None:
    _, refusal = world.batch(create_alias(pair("crm", "1")), identify("u", pair("crm", "2")), validate_only=True)
    assert refusal.name == "ALIAS_NOT_FOUND"
    _, identified = world.batch(create_alias(pair("crm", "1")), identify("u", pair("crm", "1")), validate_only=True)
    assert identified == Answer(v1.OUTCOME_IDENTIFIED, None, "u")


def test_the_next_caller_does_not_see_what_was_only_validated(world: World) -> None:
    world.identified("u")
    _, deleted = world.group(
        call(alias("u", "a"), validate_only=True), call(delete_alias("a", UNKNOWN, allow_missing=True))
    )
    assert deleted == [None]


# What is validated starts from what its neighbours did, and leaves no trace in what they do next. Labels are loaded
# late here, for what they are made up of is what could leak.


def test_labels_that_a_neighbours_merge_brought_are_taken_while_validating(world: World) -> None:
    world.preloads = False
    world.identified("u")
    world.anonymous("x", pair("crm", "1"))
    _, [refusal] = world.group(call(alias("u", "x")), call(create_alias(pair("crm", "2"), "u"), validate_only=True))
    assert refusal.name == "LABEL_TAKEN"


def test_a_label_that_a_neighbour_freed_is_free_while_validating(world: World) -> None:
    world.preloads = False
    user = world.identified("u", pair("crm", "1"), pair("tax", "1"))
    _, linked = world.group(
        call(delete_alias(pair("crm", "1"))), call(create_alias(pair("crm", "2"), "u"), validate_only=True)
    )
    assert linked == [Answer(v1.OUTCOME_LINKED, user, "u")]


def test_labels_that_a_merge_would_have_brought_are_free_after_validating_it(world: World) -> None:
    world.preloads = False
    user = world.identified("u", pair("tax", "1"))
    world.anonymous("x", pair("crm", "1"))
    _, linked = world.group(call(alias("u", "x"), validate_only=True), call(create_alias(pair("crm", "2"), "u")))
    assert linked == [Answer(v1.OUTCOME_LINKED, user, "u")]


# Repeating a call by its request id.


def once(fingerprint: bytes, *, keep: bytes | None = b"answer") -> Once:
    return Once(b"request id", "Alias", fingerprint, lambda results: keep)


def test_a_call_that_repeats_a_neighbours_request_id_gets_its_answer_and_is_not_run(world: World) -> None:
    world.identified("u")
    _, again = world.group(call(alias("u", "a"), once=once(b"1")), call(delete_alias("a"), once=once(b"1")))
    assert isinstance(again, AnsweredBefore)
    assert again.answer == b"answer"
    assert world.whose("a") is not None


def test_a_request_id_with_another_body_is_refused_and_not_run(world: World) -> None:
    world.identified("u")
    _, refusal = world.group(call(alias("u", "a"), once=once(b"1")), call(alias("u", "b"), once=once(b"2")))
    assert isinstance(refusal, AkaError)
    assert refusal.name == "REQUEST_ID_REUSED"
    assert refusal.field == "request_id"
    assert world.whose("b") is None


def test_a_request_id_whose_answer_was_not_ok_is_run_again(world: World) -> None:
    world.identified("u")
    verdicts = world.group(
        call(alias("nobody", "a"), once=once(b"1", keep=None)), call(alias("u", "b"), once=once(b"1"))
    )
    assert verdicts[1] == [Answer(v1.OUTCOME_LINKED, world.whose("u"), "u")]


# The journal's changes.


def summed_up(*changes: Created | Linked | Unlinked | Identified | Merged) -> History:
    history = History()
    for at, change in enumerate(changes, 1):
        history.apply(change, at)
    return history


def test_a_tombstone_of_a_tombstone_leads_to_the_last_survivor() -> None:
    history = summed_up(
        Created(A, id_of("a"), False, True),
        Created(B, id_of("b"), False, True),
        Created(C, id_of("c"), True, False),
        Merged(A, B, None, 1, 2, False),
        Merged(B, C, None, 1, 3, False),
    )
    assert history.survivors() == {A: C, B: C, C: C}
    assert history.counts() == {A: Counts(), B: Counts(), C: Counts(3, 0, 2)}
    assert history.profiles[C].created_at == 1


def test_taking_a_merge_back_leaves_each_profile_what_it_had_before() -> None:
    merge = Merged(B, A, "b", 2, 1, True)
    history = summed_up(
        Created(A, id_of("a"), True, False),
        Created(B, id_of("b"), True, False),
        Linked(B, pair("crm", "7"), False),
        merge,
    )
    assert (history.profiles[B].primary, history.profiles[B].parent, history.profiles[B].orphaned) == (None, A, True)
    history.take_back(merge)
    assert (history.profiles[B].primary, history.profiles[B].parent, history.profiles[B].orphaned) == ("b", None, False)
    assert history.counts() == {A: Counts(1, 0, 0), B: Counts(2, 1, 0)}


def test_taking_an_unlinking_back_links_the_identifier_where_and_when_it_was() -> None:
    unlinked = Unlinked(A, id_of("b"), B, True, 2)
    history = summed_up(
        Created(A, id_of("a"), True, False),
        Created(B, id_of("b"), False, True),
        Merged(B, A, None, 2, 1, False),
        unlinked,
    )
    assert id_of("b") not in history.links
    history.take_back(unlinked)
    assert history.links[id_of("b")] == Link(B, True, 2)


def test_taking_an_identification_back_makes_the_primary_id_an_anonymous_id_again() -> None:
    identified = Identified(A, id_of("x"), True)
    history = summed_up(Created(A, id_of("x"), False, True), identified)
    assert not history.links[id_of("x")].anonymous
    history.take_back(identified)
    assert history.links[id_of("x")].anonymous
    assert history.profiles[A].primary is None


MISFITS = {
    "a profile made twice": Created(A, id_of("new"), False, False),
    "a profile made of what is linked": Created(D, id_of("a"), True, False),
    "a link to nobody": Linked(D, id_of("new"), False),
    "a link to a tombstone": Linked(B, id_of("new"), False),
    "a link of what is linked": Linked(A, id_of("b"), False),
    "an unlinking of what is free": Unlinked(A, id_of("new"), A, False, 1),
    "an unlinking from another profile": Unlinked(C, id_of("b"), B, True, 2),
    "an unlinking of another origin": Unlinked(A, id_of("b"), A, True, 2),
    "an unlinking of an anonymous id as none": Unlinked(A, id_of("b"), B, False, 2),
    "an unlinking of another time": Unlinked(A, id_of("b"), B, True, 9),
    "an identification by what is free": Identified(C, id_of("new"), False),
    "an identification by another profile's id": Identified(C, id_of("b"), True),
    "an identification of who is identified": Identified(A, id_of("b"), True),
    "an identification by an anonymous id as none": Identified(C, id_of("c"), False),
    "a merge with itself": Merged(C, C, None, 3, 3, False),
    "a merge of a tombstone": Merged(B, C, None, 2, 3, False),
    "a merge into a tombstone": Merged(C, B, None, 3, 2, False),
    "a merge of another primary id": Merged(C, A, "c", 3, 1, False),
    "a merge of another age": Merged(C, A, None, 9, 1, False),
    "a merge into another age": Merged(C, A, None, 3, 9, False),
}


@pytest.mark.parametrize("change", MISFITS.values(), ids=MISFITS.keys())
def test_a_change_that_cannot_follow_or_be_taken_back_is_an_error(change: Change) -> None:
    begun = (
        Created(A, id_of("a"), True, False),
        Created(B, id_of("b"), False, True),
        Created(C, id_of("c"), False, True),
        Merged(B, A, None, 2, 1, False),
    )
    summed_up(*begun)
    with pytest.raises(ValueError, match=type(change).__name__):
        summed_up(*begun, change)
