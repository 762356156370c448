"""The face of the service: each RPC translates its request, makes one call, and translates the answer."""

from collections.abc import AsyncIterator
from functools import partial

from aka.server import data_messages, link_messages, messages
from aka.server.domain.rules import Rules
from aka.server.service import Service, Session
from aka.v1 import alias_service_pb2 as v1


class AliasServicer:
    """The RPCs of aka.v1.AliasService, for whatever transport the pipeline serves."""

    def __init__(self, service: Service, rules: Rules) -> None:
        self._service = service
        self._rules = rules

    async def Alias(self, request: v1.AliasRequest, session: Session) -> v1.AliasResponse:
        """Link one id to a user's profile."""
        decision = messages.alias(request, self._rules, may_merge=session.may("profiles.merge"))
        respond = partial(messages.alias_response, request)
        return await self._service.change(session, request, [decision], respond)

    async def BatchAlias(self, request: v1.BatchAliasRequest, session: Session) -> v1.BatchAliasResponse:
        """Do several Alias requests in one transaction."""
        decisions = messages.batch_alias(request, self._rules, may_merge=session.may("profiles.merge"))
        return await self._service.change(session, request, decisions, messages.batch_alias_response)

    async def CreateAliases(self, request: v1.CreateAliasesRequest, session: Session) -> v1.CreateAliasesResponse:
        """Give user aliases or anonymous ids to profiles."""
        decisions = messages.create_aliases(request, self._rules)
        return await self._service.change(session, request, decisions, messages.create_aliases_response)

    async def Identify(self, request: v1.IdentifyRequest, session: Session) -> v1.IdentifyResponse:
        """Make profiles known by an external id."""
        decisions = messages.identify(request, self._rules, may_write=session.may("profiles.write"))
        return await self._service.change(session, request, decisions, messages.identify_response)

    async def Resolve(self, request: v1.ResolveRequest, session: Session) -> v1.ResolveResponse:
        """Say whose identifiers are."""
        keys = messages.resolve(request)
        eventual = request.consistency == v1.CONSISTENCY_EVENTUAL
        return messages.resolve_response(keys, await self._service.resolve(session, keys, eventual=eventual))

    async def GetProfile(self, request: v1.GetProfileRequest, session: Session) -> v1.GetProfileResponse:
        """Return a profile and a page of its identifiers."""
        key, after, limit = messages.get_profile(request)
        eventual = request.consistency == v1.CONSISTENCY_EVENTUAL
        page = await self._service.read_profile(session, key, after, limit, eventual=eventual)
        return messages.get_profile_response(key, page)

    async def DeleteAlias(self, request: v1.DeleteAliasRequest, session: Session) -> v1.DeleteAliasResponse:
        """Unlink one identifier."""
        decision = messages.delete_alias(request)
        return await self._service.change(session, request, [decision], messages.delete_alias_response)

    async def ImportLinks(
        self, requests: AsyncIterator[v1.ImportLinksRequest], session: Session
    ) -> v1.ImportLinksResponse:
        """Link what a stream brings."""
        batches = link_messages.import_links(requests, self._rules, may_merge=session.may("profiles.merge"))
        return link_messages.import_links_response(await self._service.import_links(session, batches))

    async def ExportLinks(
        self, request: v1.ExportLinksRequest, session: Session
    ) -> AsyncIterator[v1.ExportLinksResponse]:
        """Send all links."""
        workspace = session.key.workspace
        after = link_messages.export_links(request, workspace)
        async for links in self._service.export_links(session, after, link_messages.MAX_LINKS):
            yield link_messages.export_links_response(links, workspace)

    async def Track(self, request: v1.TrackRequest, session: Session) -> v1.TrackResponse:
        """Put data on profiles."""
        decisions = data_messages.track(request, self._rules)
        respond = partial(data_messages.track_response, request)
        return await self._service.change(session, request, decisions, respond)

    async def ExportProfiles(self, request: v1.ExportProfilesRequest, session: Session) -> v1.ExportProfilesResponse:
        """Return profiles with their data."""
        wanted = data_messages.export_profiles(request)
        exported = await self._service.export_profiles(session, wanted)
        return await data_messages.export_profiles_response(wanted, exported)
