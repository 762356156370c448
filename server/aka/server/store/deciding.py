"""Running many callers' decisions over one graph, for whatever store drives it."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import uuid_utils

from aka.server.domain.changes import Change
from aka.server.domain.graph import Decision, Graph, Missing
from aka.server.domain.identifiers import Key, ProfileId, uuid_text
from aka.server.domain.profile_data import Tracked
from aka.server.domain.rules import Answer
from aka.server.errors import AkaError
from aka.server.store.store import AnsweredBefore, Caller, Kept, Once, Workspace
from aka.v1 import alias_service_pb2 as v1


class Call(NamedTuple):
    """One caller's decisions, for one workspace."""

    workspace: Workspace
    decisions: Sequence[Decision[Any]]
    keys: Sequence[Key]
    """All that the decisions will look up."""
    by: Caller

    @classmethod
    def of(cls, workspace: Workspace, decisions: Sequence[Decision[Any]], by: Caller) -> Self:
        """Return the call of these decisions."""
        return cls(workspace, decisions, [key for decision in decisions for key in decision.keys], by)


Results = list[Any]
"""An answer or an AkaError for each decision of a call."""

Verdict = Results | AnsweredBefore | AkaError
"""What a call gets: its results, or an error of the whole call."""


class Lack(NamedTuple):
    """What a graph lacks for a decision."""

    graph: Graph
    profiles: Sequence[ProfileId]
    """Profiles that live, as the graph has them: all whose labels, or as the store has them: whose holdings."""
    holdings: bool


@dataclass(slots=True)
class Decided:
    """What a group of calls came to."""

    verdicts: list[Verdict] = field(default_factory=list)
    journal: list[tuple[Caller, Sequence[Change]]] = field(default_factory=list)
    keep: list[tuple[Once, bytes]] = field(default_factory=list)


def decide(graph: Graph, calls: Iterable[Call], kept: dict[bytes, Kept]) -> Generator[Lack, None, Decided]:
    """Run the calls' decisions in order, each seeing what those before it changed.

    Yields what a graph lacks; the driver loads it and goes on. `kept` has the answers that the store keeps for the
    calls' request ids. What else a decision raises is a bug and goes through.
    """
    decided = Decided()
    for call in calls:
        once = None if call.by.validate_only else call.by.once
        if once is not None and (before := kept.get(once.request_id)):
            decided.verdicts.append(_repeat(once, before))
            continue
        scratch = graph.trial() if call.by.validate_only else graph
        results: Results = []
        folded = len(graph.changes)
        for decision in call.decisions:
            try:
                answer, changes = decision.decide(scratch)
            except Missing as missing:
                answer, changes = yield from _decide_with_more(decision, scratch, call.keys, missing)
            except AkaError as refusal:
                answer, changes = refusal, ()
            results.append(answer)
            for change in changes:
                scratch.fold(change)
        if scratch is not graph:
            results = [_without(item, scratch.made) for item in results]
        decided.verdicts.append(results)
        decided.journal.append((call.by, graph.changes[folded:]))
        if once is not None and (kept_answer := once.keep(results)) is not None:
            kept[once.request_id] = Kept(once.method, once.fingerprint, kept_answer)
            decided.keep.append((once, kept_answer))
    return decided


def new_profile_id() -> ProfileId:
    """Return a new UUIDv7."""
    return ProfileId(uuid_utils.uuid7().bytes)


def _decide_with_more(
    decision: Decision[Any], graph: Graph, keys: Sequence[Key], missing: Missing
) -> Generator[Lack, None, tuple[Any, tuple[Change | Tracked, ...]]]:
    """Run a decision again, with what it lacked, until it lacks nothing. `keys` are its call's."""
    loaded: set[tuple[ProfileId, bool]] = set()
    while (lacking := (missing.profile, missing.holdings)) not in loaded:
        loaded.add(lacking)
        if missing.holdings:  # of the whole call at once
            yield Lack(graph, graph.without_holdings(keys), True)
        else:
            yield Lack(graph, [missing.profile], False)
        try:
            return decision.decide(graph)
        except Missing as more:
            missing = more
        except AkaError as refusal:
            return refusal, ()
    raise RuntimeError("a profile has not as many labels as its counter says, or what it holds was not loaded")


def _without(result: Any, made: set[ProfileId]) -> Any:
    """Return a result that does not tell the ids of profiles that were only tried out."""
    if isinstance(result, Answer):
        return result.without(made)
    if isinstance(result, AkaError):
        tried = {uuid_text(profile) for profile in made}
        told = {name: value for name, value in result.metadata.items() if value not in tried}
        return AkaError(result.reason, result.text, **told)
    return None if isinstance(result, bytes) and result in made else result


def _repeat(once: Once, before: Kept) -> AnsweredBefore | AkaError:
    if (before.method, before.fingerprint) == (once.method, once.fingerprint):
        return AnsweredBefore(before.answer)
    return AkaError(
        v1.ERROR_REASON_REQUEST_ID_REUSED,
        "was used with another method or body in the last 24 hours; make a new one for each new request",
        field="request_id",
    )
