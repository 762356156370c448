-- Times are microseconds since the epoch; profile ids are the 16 bytes of a UUIDv7.

CREATE TABLE workspaces (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- A key is found by the SHA-256 of its secret, which is not kept.
CREATE TABLE api_keys (
    id           BLOB    NOT NULL PRIMARY KEY,
    workspace    INTEGER NOT NULL REFERENCES workspaces (id),
    digest       BLOB    NOT NULL UNIQUE,
    name         TEXT    NOT NULL,
    prefix       TEXT    NOT NULL,
    permissions  TEXT    NOT NULL, -- separated by blanks
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    expires_at   INTEGER,
    revoked_at   INTEGER
) STRICT, WITHOUT ROWID;

-- A profile lives while its survivor is itself. A tombstone's survivor is always the living profile at the end,
-- in one step; its parent is the profile that it was merged into, which never changes but by an undo.
CREATE TABLE profiles (
    workspace    INTEGER NOT NULL REFERENCES workspaces (id),
    id           BLOB    NOT NULL,
    survivor     BLOB    NOT NULL,
    parent       BLOB,
    merged_by    INTEGER,                    -- the journal's sequence of the merge that made it a tombstone
    orphaned     INTEGER NOT NULL DEFAULT 0, -- that merge left its attributes, events and purchases behind
    primary_id   TEXT,                       -- NULL while anonymous, and on a tombstone
    identifiers  INTEGER NOT NULL,           -- with its tombstones'; 0 on a tombstone
    user_aliases INTEGER NOT NULL,
    tombstones   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace, id),
    FOREIGN KEY (workspace, survivor) REFERENCES profiles (workspace, id),
    FOREIGN KEY (workspace, parent) REFERENCES profiles (workspace, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstones_by_survivor ON profiles (workspace, survivor, merged_by) WHERE parent IS NOT NULL;
CREATE INDEX tombstones_by_parent ON profiles (workspace, parent) WHERE parent IS NOT NULL;

-- An id has the empty label, a user alias its own. The origin is the profile that the identifier was linked to,
-- and stays when that profile is merged.
CREATE TABLE identifiers (
    workspace INTEGER NOT NULL,
    label     TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    origin    BLOB    NOT NULL,
    anonymous INTEGER NOT NULL,
    linked_at INTEGER NOT NULL,
    PRIMARY KEY (workspace, label, name),
    FOREIGN KEY (workspace, origin) REFERENCES profiles (workspace, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX identifiers_by_origin ON identifiers (workspace, origin, label, name);

-- One row a change. Which columns a kind uses:
--   created     profile, label, name, flag: it is the primary id, anonymous: it came as an anonymous id
--   linked      profile, label, name, anonymous
--   unlinked    profile, label, name, anonymous, other: its origin, linked_at
--   identified  profile, label, name, anonymous: the id was an anonymous id
--   merged      profile: the survivor, other: the loser, name: the loser's primary id, flag: orphaned,
--               created_at and other_created_at: the survivor's and the loser's before
CREATE TABLE journal (
    workspace        INTEGER NOT NULL REFERENCES workspaces (id),
    sequence         INTEGER NOT NULL,
    at               INTEGER NOT NULL,
    api_key          BLOB    NOT NULL,
    request          TEXT    NOT NULL, -- the call's x-request-id
    kind             TEXT    NOT NULL CHECK (kind IN ('created', 'linked', 'unlinked', 'identified', 'merged')),
    profile          BLOB    NOT NULL,
    label            TEXT    NOT NULL, -- empty for an id
    name             TEXT,
    flag             INTEGER NOT NULL,
    anonymous        INTEGER NOT NULL,
    other            BLOB,
    linked_at        INTEGER,
    created_at       INTEGER,
    other_created_at INTEGER,
    PRIMARY KEY (workspace, sequence)
) STRICT, WITHOUT ROWID;

-- The OK answers of the last 24 hours to calls that bore a request_id.
CREATE TABLE answers (
    workspace   INTEGER NOT NULL REFERENCES workspaces (id),
    request_id  BLOB    NOT NULL,
    method      TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL, -- SHA-256 of the request
    answer      BLOB    NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (workspace, request_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX answers_by_time ON answers (at);
