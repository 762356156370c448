"""The messages of imports and exports as the domain's values, and back."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from aka.server.domain.graph import Decision
from aka.server.domain.identifiers import Identifier, checked_id, checked_uuidv7, uuid_text
from aka.server.domain.import_link import ImportLink
from aka.server.domain.joining import Joining
from aka.server.domain.refused import Refused
from aka.server.domain.rules import Answer, Rules
from aka.server.errors import AkaError, field_required
from aka.server.messages import check_policy, check_size, timestamp, user_alias
from aka.server.page_tokens import read_token, write_token
from aka.server.service import Imported, LinkBatch
from aka.server.status import status_of
from aka.server.store.store import StoredLink, Workspace
from aka.v1 import alias_service_pb2 as v1

MAX_LINKS: Final = 1000
"""Links of a message."""

_PLACE: Final = "ExportLinks"


async def import_links(
    requests: AsyncIterator[v1.ImportLinksRequest], rules: Rules, *, may_merge: bool
) -> AsyncIterator[LinkBatch]:
    """Read ImportLinksRequests as they come, a decision a link."""
    async for request in requests:
        check_size(request.links, "links", MAX_LINKS)
        check_policy(request.merge_policy)
        joining = Joining(request.merge_policy, may_merge)
        yield LinkBatch([_import_link(link, rules, joining) for link in request.links], request.validate_only)


def _import_link(link: v1.Link, rules: Rules, joining: Joining) -> Decision[Answer]:
    try:
        profile_id = checked_uuidv7(link.profile_id, "profile_id") if link.profile_id else None
        user = checked_id(link.user_id, "user_id") if link.user_id else None
        match link.WhichOneof("alias"):
            case "alias_id" if user is not None or profile_id is not None:
                alias = checked_id(link.alias_id, "alias_id")
                return ImportLink(profile_id, user, alias, False, joining, rules)
            case "anonymous_id":
                alias = checked_id(link.anonymous_id, "anonymous_id")
                return ImportLink(profile_id, user, alias, True, joining._replace(field="anonymous_id"), rules)
            case "user_alias":
                return ImportLink(profile_id, user, user_alias(link.user_alias), False, joining, rules)
            case None if user is not None:
                return ImportLink(profile_id, user, None, False, joining, rules)
            case _:
                raise field_required("user_id")
    except AkaError as error:
        return Refused(error)


def import_links_response(imported: Imported) -> v1.ImportLinksResponse:
    """Write what became of links."""
    outcomes = imported.outcomes
    return v1.ImportLinksResponse(
        links_received=imported.received,
        complete=imported.complete,
        created=outcomes[v1.OUTCOME_CREATED],
        linked=outcomes[v1.OUTCOME_LINKED],
        already_linked=outcomes[v1.OUTCOME_ALREADY_LINKED],
        merged=outcomes[v1.OUTCOME_MERGED],
        identified=outcomes[v1.OUTCOME_IDENTIFIED],
        refused=[
            v1.RefusedLink(index=place, error=status_of(error), reason=error.reason)
            for place, error in imported.refused
        ],
    )


def export_links(request: v1.ExportLinksRequest, workspace: Workspace) -> Identifier | None:
    """Read an ExportLinksRequest: the identifier of the workspace behind which it goes on."""
    return read_token(request.resume_token, (_PLACE, workspace), Identifier, field="resume_token")


def export_links_response(links: Sequence[StoredLink], workspace: Workspace) -> v1.ExportLinksResponse:
    """Write a part of an export of a workspace, which is not empty."""
    response = v1.ExportLinksResponse(resume_token=write_token((_PLACE, workspace), links[-1].identifier))
    add = response.links.add
    for identifier, anonymous, linked_at, profile_id, primary in links:
        link = add()
        link.profile_id = uuid_text(profile_id)
        if primary is not None:
            link.user_id = primary
        label, name = identifier
        if label:
            link.user_alias.alias_label = label
            link.user_alias.alias_name = name
        elif anonymous:
            link.anonymous_id = name
        elif name != primary:
            link.alias_id = name
        link.linked_at.CopyFrom(timestamp(linked_at))
    return response
