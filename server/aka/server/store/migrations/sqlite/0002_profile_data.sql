-- The data of profiles. It is keyed by its origin, the living profile that it was put on, and stays when that is merged.

CREATE TABLE attributes (
    workspace INTEGER NOT NULL,
    origin    BLOB    NOT NULL,
    name      TEXT    NOT NULL,
    value     TEXT    NOT NULL, -- JSON; null: it was removed
    at        INTEGER NOT NULL, -- since when it is so
    PRIMARY KEY (workspace, origin, name),
    FOREIGN KEY (workspace, origin) REFERENCES profiles (workspace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE push_tokens (
    workspace INTEGER NOT NULL,
    origin    BLOB    NOT NULL,
    app_id    TEXT    NOT NULL,
    token     TEXT    NOT NULL,
    device_id TEXT    NOT NULL, -- empty: not told
    PRIMARY KEY (workspace, origin, app_id, token),
    FOREIGN KEY (workspace, origin) REFERENCES profiles (workspace, id)
) STRICT, WITHOUT ROWID;

-- Events, purchases and messages; each origin's are numbered from 1.
CREATE TABLE activities (
    workspace INTEGER NOT NULL,
    origin    BLOB    NOT NULL,
    number    INTEGER NOT NULL,
    kind      TEXT    NOT NULL CHECK (kind IN ('event', 'purchase', 'message')),
    at        INTEGER NOT NULL,
    name      TEXT    NOT NULL,
    details   TEXT    NOT NULL, -- a JSON object
    PRIMARY KEY (workspace, origin, number),
    FOREIGN KEY (workspace, origin) REFERENCES profiles (workspace, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX activities_by_time ON activities (workspace, origin, at, number, kind);

-- A key that held every permission holds every permission.
UPDATE api_keys SET permissions =
    'aliases.write keys.admin operator profiles.export profiles.merge profiles.read profiles.write'
WHERE permissions IN (
    'aliases.write keys.admin operator profiles.merge profiles.read',
    'aliases.write keys.admin operator profiles.export profiles.merge profiles.read'
);
