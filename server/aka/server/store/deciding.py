"""Running many callers' decisions over one graph, for whatever store drives it."""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aka.server.domain.changes import Change
from aka.server.domain.graph import Decision, Graph, Missing
from aka.server.domain.identifiers import ProfileId
from aka.server.domain.rules import Answer
from aka.server.errors import AkaError
from aka.server.store.store import AnsweredBefore, Caller, Kept, Once, Workspace
from aka.v1 import alias_service_pb2 as v1


@dataclass(frozen=True, slots=True)
class Call:
    """One caller's decisions, for one workspace."""

    workspace: Workspace
    decisions: Sequence[Decision[Any]]
    by: Caller


Results = list[Any]
"""An answer or an AkaError for each decision of a call."""

Verdict = Results | AnsweredBefore | AkaError
"""What a call gets: its results, or an error of the whole call."""


@dataclass(slots=True)
class Decided:
    """What a group of calls came to."""

    verdicts: list[Verdict] = field(default_factory=list)
    journal: list[tuple[Caller, Change]] = field(default_factory=list)
    keep: list[tuple[Once, bytes]] = field(default_factory=list)


def decide(
    graph: Graph, calls: Iterable[Call], kept: dict[bytes, Kept]
) -> Generator[tuple[Graph, ProfileId], None, Decided]:
    """Run the calls' decisions in order, each seeing what those before it changed.

    Yields a graph and a profile whose labels it lacks; the driver loads them and goes on. `kept` has the answers
    that the store keeps for the calls' request ids. What else a decision raises is a bug and goes through.
    """
    decided = Decided()
    for call in calls:
        once = call.by.once
        if once is not None and (before := kept.get(once.request_id)):
            decided.verdicts.append(_repeat(once, before))
            continue
        scratch = graph.trial() if call.by.validate_only else graph
        results: Results = []
        folded = len(graph.changes)
        for decision in call.decisions:
            results.append((yield from _decide_one(scratch, decision)))
        if scratch is not graph:
            results = [item.without(scratch.made) if isinstance(item, Answer) else item for item in results]
        decided.verdicts.append(results)
        decided.journal.extend((call.by, change) for change in graph.changes[folded:])
        if once is not None and (answer := once.keep(results)) is not None:
            kept[once.request_id] = Kept(once.method, once.fingerprint, answer)
            decided.keep.append((once, answer))
    return decided


def _decide_one(graph: Graph, decision: Decision[Any]) -> Generator[tuple[Graph, ProfileId], None, Any]:
    while True:
        try:
            answer, changes = decision.decide(graph)
        except Missing as missing:
            yield graph, missing.profile
        except AkaError as refusal:
            return refusal
        else:
            for change in changes:
                graph.fold(change)
            return answer


def _repeat(once: Once, before: Kept) -> AnsweredBefore | AkaError:
    if (before.method, before.fingerprint) == (once.method, once.fingerprint):
        return AnsweredBefore(before.answer)
    return AkaError(
        v1.ERROR_REASON_REQUEST_ID_REUSED,
        "was used with another method or body in the last 24 hours; make a new one for each new request",
        field="request_id",
    )
