-- The data of profiles. It is keyed by its origin, the living profile that it was put on, and stays when that is merged.

CREATE TABLE attributes (
    workspace bigint NOT NULL,
    origin    bytea  NOT NULL,
    name      text   COLLATE "C" NOT NULL,
    value     text   NOT NULL, -- JSON; null: it was removed
    at        bigint NOT NULL, -- since when it is so
    PRIMARY KEY (workspace, origin, name)
);

CREATE TABLE push_tokens (
    workspace bigint NOT NULL,
    origin    bytea  NOT NULL,
    app_id    text   COLLATE "C" NOT NULL,
    token     text   COLLATE "C" NOT NULL,
    device_id text   NOT NULL, -- empty: not told
    PRIMARY KEY (workspace, origin, app_id, token)
);

-- Events, purchases and messages; each origin's are numbered from 1.
CREATE TABLE activities (
    workspace bigint  NOT NULL,
    origin    bytea   NOT NULL,
    number    integer NOT NULL,
    kind      text    NOT NULL CHECK (kind IN ('event', 'purchase', 'message')),
    at        bigint  NOT NULL,
    name      text    NOT NULL,
    details   text    NOT NULL, -- a JSON object
    PRIMARY KEY (workspace, origin, number)
);

CREATE INDEX activities_by_time ON activities (workspace, origin, at, number, kind);

-- A key that held every permission holds every permission.
UPDATE api_keys SET permissions =
    'aliases.write keys.admin operator profiles.export profiles.merge profiles.read profiles.write'
WHERE permissions IN (
    'aliases.write keys.admin operator profiles.merge profiles.read',
    'aliases.write keys.admin operator profiles.export profiles.merge profiles.read'
);
