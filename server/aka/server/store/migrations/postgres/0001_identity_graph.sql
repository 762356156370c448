-- Times are microseconds since the epoch; profile ids are the 16 bytes of a UUIDv7. Text compares byte for byte, whatever
-- the database's collation. There are no foreign keys in the graph: whoever adds, moves or removes an identifier
-- holds its profile's row, so they would only cost; `aka check` tells.

CREATE TABLE workspaces (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text   COLLATE "C" NOT NULL UNIQUE,
    created_at bigint NOT NULL
);

-- A key is found by the SHA-256 of its secret, which is not kept.
CREATE TABLE api_keys (
    id           bytea  NOT NULL PRIMARY KEY,
    workspace    bigint NOT NULL REFERENCES workspaces (id),
    digest       bytea  NOT NULL UNIQUE,
    name         text   NOT NULL,
    prefix       text   NOT NULL,
    permissions  text   NOT NULL, -- separated by blanks
    created_at   bigint NOT NULL,
    last_used_at bigint,
    expires_at   bigint,
    revoked_at   bigint
);

CREATE INDEX api_keys_by_workspace ON api_keys (workspace, id);

-- A profile lives while its survivor is itself. A tombstone's survivor is always the living profile at the end,
-- in one step; its parent is the profile that it was merged into, which never changes but by an undo.
CREATE TABLE profiles (
    workspace    bigint  NOT NULL,
    id           bytea   NOT NULL,
    survivor     bytea   NOT NULL,
    parent       bytea,
    merged_by    bigint,                  -- the journal's sequence of the merge that made it a tombstone
    orphaned     boolean NOT NULL,        -- that merge left its attributes, events and purchases behind
    primary_id   text    COLLATE "C",     -- NULL while anonymous, and on a tombstone
    identifiers  integer NOT NULL,        -- with its tombstones'; 0 on a tombstone
    user_aliases integer NOT NULL,
    tombstones   integer NOT NULL,
    created_at   bigint  NOT NULL,
    updated_at   bigint  NOT NULL,
    PRIMARY KEY (workspace, id)
);

CREATE INDEX tombstones_by_survivor ON profiles (workspace, survivor, merged_by) WHERE parent IS NOT NULL;

-- An id has the empty label, a user alias its own. The origin is the profile that the identifier was linked to,
-- and stays when that profile is merged.
CREATE TABLE identifiers (
    workspace bigint  NOT NULL,
    label     text    COLLATE "C" NOT NULL,
    name      text    COLLATE "C" NOT NULL,
    origin    bytea   NOT NULL,
    anonymous boolean NOT NULL,
    linked_at bigint  NOT NULL,
    PRIMARY KEY (workspace, label, name)
);

-- (The condition always holds. It keeps PostgreSQL from this index where an origin is not asked for.)
CREATE INDEX identifiers_by_origin ON identifiers (workspace, origin) WHERE origin IS NOT NULL;

-- One row a change. The sequence has gaps, where a transaction did not commit; of two changes of one profile or of one
-- identifier, the later has the greater. Which columns a kind uses:
--   created     profile, label, name, flag: it is the primary id, anonymous: it came as an anonymous id
--   linked      profile, label, name, anonymous
--   unlinked    profile, label, name, anonymous, other: its origin, linked_at
--   identified  profile, label, name, anonymous: the id was an anonymous id
--   merged      profile: the survivor, other: the loser, name: the loser's primary id, flag: orphaned,
--               created_at and other_created_at: the survivor's and the loser's before
CREATE SEQUENCE journal_sequence;

CREATE TABLE journal (
    workspace        bigint  NOT NULL,
    sequence         bigint  NOT NULL DEFAULT nextval('journal_sequence'),
    at               bigint  NOT NULL,
    api_key          bytea   NOT NULL,
    request          text    NOT NULL, -- the call's x-request-id
    kind             text    NOT NULL CHECK (kind IN ('created', 'linked', 'unlinked', 'identified', 'merged')),
    profile          bytea   NOT NULL,
    label            text    COLLATE "C" NOT NULL, -- empty for an id
    name             text    COLLATE "C",
    flag             boolean NOT NULL,
    anonymous        boolean NOT NULL,
    other            bytea,
    linked_at        bigint,
    created_at       bigint,
    other_created_at bigint,
    PRIMARY KEY (workspace, sequence)
);

-- The OK answers of the last 24 hours to calls that bore a request_id.
CREATE TABLE answers (
    workspace   bigint NOT NULL,
    request_id  bytea  NOT NULL,
    method      text   NOT NULL,
    fingerprint bytea  NOT NULL, -- SHA-256 of the request
    answer      bytea  NOT NULL,
    at          bigint NOT NULL,
    PRIMARY KEY (workspace, request_id)
);

CREATE INDEX answers_by_time ON answers (at);

-- Rows that are locked where something else than a row must not happen twice at once.
INSERT INTO locks (name) VALUES ('api_keys');
