"""What families do: every call that changes something, in an order that makes sense, some of them to be refused."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from uuid import UUID

from aka.v1 import alias_service_pb2 as v1
from tests.faults.history import Family, Name, Refusal, Step

Act = Callable[["Life"], Step | None]


class Life:
    """A family's calls, one by one; each is made of the state that those before it led to."""

    def __init__(self, family: Family, random: Random, shared: Sequence[str] = ()) -> None:
        """`shared` are user ids of identified profiles that many families link to; each is its profile's name too."""
        self.family = family
        self.random = random
        self.shared = shared

    def steps(self, *acts: Act) -> Iterator[Step]:
        """The steps of these acts, or of a whole life, less some by chance and those that make no sense any more."""
        for act in acts or LIFE:
            if acts or self.random.random() < 0.8:
                step = act(self)
                if step is not None:
                    yield step

    def id(self, word: str) -> str:
        """One of the family's ids."""
        return f"{self.family.name}.{word}"

    def request_id(self, *, always: bool = False) -> str:
        """A new request id, or none, by chance."""
        return str(UUID(int=self.random.getrandbits(128))) if always or self.random.random() < 0.4 else ""

    def there(self, *words: str) -> bool:
        """Whether the family has all of these ids."""
        return all(("", self.id(word)) in self.family.state.owner for word in words)


def names(*ids: str) -> list[Name]:
    """Ids as names."""
    return [("", value) for value in ids]


def new_user(life: Life) -> Step | None:
    """Alias: a new user with a new alias."""
    user, alias = life.id("user"), life.id("alias")
    request = v1.AliasRequest(user_id=user, alias_id=alias, create_missing=True, request_id=life.request_id())
    after = life.family.state.create(user, ("", user), primary=True).link(user, ("", alias))
    return Step("Alias", request, after, [user], names(user, alias))


def one_more(life: Life) -> Step | None:
    """Alias: one more id of a known user, who is named by any of the ids."""
    if not life.there("user", "alias"):
        return None
    user, by, alias = life.id("user"), life.id(life.random.choice(["user", "alias"])), life.id("more")
    request = v1.AliasRequest(user_id=by, alias_id=alias, request_id=life.request_id())
    return Step("Alias", request, life.family.state.link(user, ("", alias)), [user], names(by, alias))


def of_nobody(life: Life) -> Step | None:
    """Alias: of a user that is not there, to be refused."""
    ghost, alias = life.id("ghost"), life.id("of-ghost")
    request = v1.AliasRequest(user_id=ghost, alias_id=alias, request_id=life.request_id())
    return Step("Alias", request, life.family.state, [Refusal("USER_NOT_FOUND")], names(ghost, alias))


def taken(life: Life) -> Step | None:
    """Alias: an id that is another's, to be refused, and nobody made."""
    if not life.there("alias"):
        return None
    thief, alias = life.id("thief"), life.id("alias")
    request = v1.AliasRequest(user_id=thief, alias_id=alias, merge_policy=v1.MERGE_POLICY_NEVER, create_missing=True)
    return Step("Alias", request, life.family.state, [Refusal("ALIAS_TAKEN")], names(thief, alias))


def several(life: Life) -> Step | None:
    """BatchAlias: a link, a new user, and two items that are refused beside them."""
    if not life.there("user"):
        return None
    user, second, ghost = life.id("user"), life.id("second"), life.id("ghost")
    first_alias, second_alias, never = life.id("batch-1"), life.id("batch-2"), v1.MERGE_POLICY_NEVER
    request = v1.BatchAliasRequest(
        requests=[
            v1.AliasRequest(user_id=user, alias_id=first_alias),
            v1.AliasRequest(user_id=second, alias_id=second_alias, create_missing=True),
            v1.AliasRequest(user_id=ghost, alias_id=life.id("batch-3")),
            v1.AliasRequest(user_id=user, alias_id=second_alias, merge_policy=never),
        ],
        request_id=life.request_id(),
    )
    after = life.family.state.link(user, ("", first_alias))
    after = after.create(second, ("", second), primary=True).link(second, ("", second_alias))
    expected: list[str | Refusal] = [user, second, Refusal("USER_NOT_FOUND"), Refusal("ALIAS_TAKEN")]
    named = names(user, second, ghost, first_alias, second_alias, life.id("batch-3"))
    return Step("BatchAlias", request, after, expected, named)


def user_aliases(life: Life) -> Step | None:
    """CreateAliases: an anonymous profile by a pair and another by an id, a pair for the user, and a refused item."""
    if not life.there("user"):
        return None
    user, crm, shop, visitor = life.id("user"), ("crm", life.id("crm")), ("shop", life.id("shop")), life.id("visitor")
    request = v1.CreateAliasesRequest(
        user_aliases=[
            v1.NewUserAlias(alias_label=crm[0], alias_name=crm[1]),
            v1.NewUserAlias(anonymous_id=visitor),
            v1.NewUserAlias(external_id=user, alias_label=shop[0], alias_name=shop[1]),
            v1.NewUserAlias(external_id=life.id("ghost"), alias_label="shop", alias_name=life.id("of-ghost")),
        ],
        request_id=life.request_id(),
    )
    by_crm = life.id("by-crm")
    after = life.family.state.create(by_crm, crm).create(visitor, ("", visitor)).link(user, shop)
    named = [crm, shop, ("shop", life.id("of-ghost")), *names(user, visitor, life.id("ghost"))]
    return Step("CreateAliases", request, after, [by_crm, visitor, user, Refusal("USER_NOT_FOUND")], named)


def identified(life: Life) -> Step | None:
    """Identify: the profile of a pair gets its primary id."""
    crm, by_crm, customer = ("crm", life.id("crm")), life.id("by-crm"), life.id("customer")
    if crm not in life.family.state.owner:
        return None
    pair = v1.UserAlias(alias_label=crm[0], alias_name=crm[1])
    request = v1.IdentifyRequest(
        aliases_to_identify=[v1.AliasToIdentify(external_id=customer, user_alias=pair)], request_id=life.request_id()
    )
    after = life.family.state.link(by_crm, ("", customer)).identify(by_crm, customer)
    return Step("Identify", request, after, [by_crm], [crm, ("", customer)])


def logged_in(life: Life) -> Step | None:
    """Identify: the visitor was the user; the two are merged."""
    if not life.there("user", "visitor"):
        return None
    user, visitor = life.id("user"), life.id("visitor")
    request = v1.IdentifyRequest(
        aliases_to_identify=[v1.AliasToIdentify(external_id=user, anonymous_id=visitor)], request_id=life.request_id()
    )
    return Step("Identify", request, life.family.state.merge(visitor, user), [user], names(user, visitor))


def two_identified(life: Life) -> Step | None:
    """Alias: of two identified profiles, to be refused by the default policy."""
    if not life.there("user", "customer"):
        return None
    user, customer = life.id("user"), life.id("customer")
    request = v1.AliasRequest(user_id=user, alias_id=customer)
    return Step("Alias", request, life.family.state, [Refusal("IDENTIFIED_PROFILE")], names(user, customer))


def joined(life: Life) -> Step | None:
    """Alias: the same two, merged because the policy says so."""
    if not life.there("user", "customer"):
        return None
    user, customer = life.id("user"), life.id("customer")
    request = v1.AliasRequest(
        user_id=user, alias_id=customer, merge_policy=v1.MERGE_POLICY_ALWAYS, request_id=life.request_id()
    )
    after = life.family.state.merge(life.id("by-crm"), user)
    return Step("Alias", request, after, [user], names(user, customer))


def less_one(life: Life) -> Step | None:
    """DeleteAlias: an id is free again."""
    if not life.there("more"):
        return None
    more, free = life.id("more"), life.random.random() < 0.5
    request = v1.DeleteAliasRequest(id=more, allow_missing=free, request_id=life.request_id(always=not free))
    after = life.family.state.unlink(("", more))
    return Step("DeleteAlias", request, after, [life.id("user")], names(more))


def less_a_pair(life: Life) -> Step | None:
    """DeleteAlias: a pair is free again."""
    shop = ("shop", life.id("shop"))
    if shop not in life.family.state.owner:
        return None
    pair = v1.UserAlias(alias_label=shop[0], alias_name=shop[1])
    request = v1.DeleteAliasRequest(user_alias=pair, request_id=life.request_id(always=True))
    return Step("DeleteAlias", request, life.family.state.unlink(shop), [life.id("user")], [shop])


def less_the_primary(life: Life) -> Step | None:
    """DeleteAlias: the primary id, to be refused."""
    if not life.there("user"):
        return None
    request = v1.DeleteAliasRequest(id=life.id("user"))
    return Step("DeleteAlias", request, life.family.state, [Refusal("PRIMARY_IDENTIFIER")], names(life.id("user")))


def of_a_shared_user(life: Life) -> Step | None:
    """Alias: an id of a user whom other families link to at the same time."""
    if not life.shared:
        return None
    user, alias = life.random.choice(life.shared), life.id("of-shared")
    request = v1.AliasRequest(user_id=user, alias_id=alias, request_id=life.request_id())
    return Step("Alias", request, life.family.state.link(user, ("", alias)), [user], names(alias))


def a_stranger(life: Life) -> Step | None:
    """CreateAliases: another anonymous profile."""
    stranger = life.id("stranger")
    request = v1.CreateAliasesRequest(user_aliases=[v1.NewUserAlias(anonymous_id=stranger)])
    after = life.family.state.create(stranger, ("", stranger))
    return Step("CreateAliases", request, after, [stranger], names(stranger))


def joins_a_shared_user(life: Life) -> Step | None:
    """Alias: that profile is merged into a user whom other families merge into at the same time."""
    if not life.shared or not life.there("stranger"):
        return None
    user, stranger = life.random.choice(life.shared), life.id("stranger")
    request = v1.AliasRequest(user_id=user, alias_id=stranger, request_id=life.request_id())
    return Step("Alias", request, life.family.state.merge(stranger, user), [user], names(stranger))


LIFE: tuple[Act, ...] = (
    of_nobody,
    new_user,
    one_more,
    taken,
    several,
    user_aliases,
    identified,
    of_a_shared_user,
    logged_in,
    two_identified,
    joined,
    less_one,
    a_stranger,
    less_a_pair,
    less_the_primary,
    joins_a_shared_user,
)
