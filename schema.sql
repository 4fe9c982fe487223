-- The whole database. `keyfold migrate` applies it as a superuser, in one transaction, to an empty database.
-- Owner: keyfold_owner, who can't log in. Logins: keyfold_api and keyfold_worker, each with no more than it needs.

DO $$
BEGIN
    CREATE ROLE keyfold_owner NOLOGIN;
    CREATE ROLE keyfold_api LOGIN;
    CREATE ROLE keyfold_worker LOGIN;
EXCEPTION
    -- roles belong to the whole cluster: another database of it has made them, maybe just now (no lock reaches that far)
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

CREATE SCHEMA keyfold AUTHORIZATION keyfold_owner;
COMMENT ON SCHEMA keyfold IS 'keyfold schema 1';
SET LOCAL ROLE keyfold_owner;

-- The log: every lifecycle event, in one gapless order. The record is the truth, the columns beside it are indexes over it.
CREATE TABLE keyfold.log (
    position bigint PRIMARY KEY CHECK (position > 0),
    stream   text NOT NULL,
    version  integer NOT NULL CHECK (version > 0),
    record   json NOT NULL CHECK (octet_length(record::text) <= 65536), -- json keeps the text as written, jsonb doesn't
    UNIQUE (stream, version)
);

CREATE FUNCTION keyfold.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'keyfold.log is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON keyfold.log
    FOR EACH STATEMENT EXECUTE FUNCTION keyfold.refuse_change();
ALTER TABLE keyfold.log ENABLE ALWAYS TRIGGER append_only; -- session_replication_role = replica doesn't silence it

-- Digests of what was shown once: access keys, link tokens, portal sessions. Not in the log, so never in a proof or an export.
CREATE TABLE keyfold.key_secrets (
    id     text PRIMARY KEY, -- of the key, link or session
    pepper smallint NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32)
);

-- Answers already given to requests with an Idempotency-Key, sealed under that key, which only the caller has.
CREATE TABLE keyfold.replays (
    id          bytea PRIMARY KEY,
    fingerprint bytea NOT NULL,
    answer      bytea NOT NULL,
    position    bigint NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX replays_created_at ON keyfold.replays (created_at);

-- How keys are used, and from where: observations, not facts, so not in the log. Processes add them up and write them
-- every few seconds.
CREATE TABLE keyfold.key_usage (
    key_id  text NOT NULL,
    outcome text NOT NULL,
    action  text NOT NULL DEFAULT '', -- '' where none was asked about
    count   bigint NOT NULL CHECK (count > 0),
    last_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, outcome, action)
);

CREATE TABLE keyfold.key_addresses (
    key_id   text NOT NULL,
    address  text NOT NULL,
    first_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (key_id, address)
);
CREATE INDEX key_addresses_address ON keyfold.key_addresses (address, last_at);
CREATE INDEX key_addresses_last_at ON keyfold.key_addresses (last_at);

-- Adds what a process has observed. Every call locks its rows in the same order, so that no two wait for each other.
CREATE FUNCTION keyfold.note_usage(
    use_key_id text[], use_outcome text[], use_action text[], use_count bigint[], use_last_at timestamptz[],
    sight_key_id text[], sight_address text[], sight_first_at timestamptz[], sight_last_at timestamptz[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO keyfold.key_usage AS known (key_id, outcome, action, count, last_at)
    SELECT key_id, outcome, action, count, last_at
    FROM unnest(use_key_id, use_outcome, use_action, use_count, use_last_at)
         AS u (key_id, outcome, action, count, last_at)
    ORDER BY key_id, outcome, action
    ON CONFLICT (key_id, outcome, action) DO UPDATE
    SET count = known.count + excluded.count, last_at = greatest(known.last_at, excluded.last_at);

    INSERT INTO keyfold.key_addresses AS known (key_id, address, first_at, last_at)
    SELECT key_id, address, first_at, last_at
    FROM unnest(sight_key_id, sight_address, sight_first_at, sight_last_at) AS s (key_id, address, first_at, last_at)
    ORDER BY key_id, address
    ON CONFLICT (key_id, address) DO UPDATE
    SET first_at = least(known.first_at, excluded.first_at), last_at = greatest(known.last_at, excluded.last_at);
END
$$;

-- Forgets addresses not seen for 90 days, and of each key all but the 100 seen last. Passes over what is being written:
-- it never waits for a row while it holds others. A row seen again meanwhile no longer has the last_at that condemned it.
CREATE FUNCTION keyfold.forget_addresses() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM keyfold.key_addresses WHERE (key_id, address) IN (
        SELECT key_id, address FROM keyfold.key_addresses
        WHERE last_at < now() - interval '90 days'
        FOR UPDATE SKIP LOCKED
    );
    DELETE FROM keyfold.key_addresses WHERE (key_id, address) IN (
        SELECT key_id, address
        FROM (SELECT key_id FROM keyfold.key_addresses GROUP BY key_id HAVING count(*) > 100) AS crowded
        CROSS JOIN LATERAL (
            SELECT address, last_at FROM keyfold.key_addresses AS a WHERE a.key_id = crowded.key_id
            ORDER BY last_at DESC, address OFFSET 100
        ) AS old
        JOIN keyfold.key_addresses AS condemned USING (key_id, address, last_at)
        FOR UPDATE OF condemned SKIP LOCKED
    );
END
$$;

-- Appends a batch of commands, each all or nothing and each on its own: a refused one takes nothing from the others.
-- A command is refused as conflicted when one of its streams has moved on (or is written by an earlier command of the
-- batch), as replayed when its idempotency key has been used. Must be called as a single autocommit statement, so that the
-- lock never waits for a client. Under READ COMMITTED each statement in here takes its snapshot after the lock.
-- event_command: for each event the number of its command, 1, 2, 3 …, ascending. before: the last position until now.
CREATE FUNCTION keyfold.append(
    event_command integer[], event_stream text[], event_version integer[], event_record text[],
    secret_command integer[], secret_id text[], secret_pepper smallint[], secret_digest bytea[],
    replay_command integer[], replay_id bytea[], replay_fingerprint bytea[], replay_answer bytea[],
    OUT before bigint, OUT conflicted integer[], OUT replayed integer[]
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- planning takes longer than running, so a plan is made once; made while the log is small, it must use the indexes too
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    refused integer[];
BEGIN
    PERFORM pg_advisory_xact_lock(7309453271); -- any number that nothing else here locks
    SELECT coalesce(max(log.position), 0) INTO before FROM keyfold.log;

    SELECT coalesce(array_agg(DISTINCT event.command), '{}') INTO conflicted
    FROM (
        SELECT command, stream,
               version - row_number() OVER (PARTITION BY stream, command ORDER BY n) AS expected,
               min(command) OVER (PARTITION BY stream) AS first_command
        FROM unnest(event_command, event_stream, event_version) WITH ORDINALITY AS e (command, stream, version, n)
    ) AS event
    WHERE command > first_command
       OR expected <> coalesce((SELECT log.version FROM keyfold.log WHERE log.stream = event.stream
                                ORDER BY log.version DESC LIMIT 1), 0);

    replayed := '{}';
    IF cardinality(replay_command) > 0 THEN
        SELECT coalesce(array_agg(r.command), '{}') INTO replayed
        FROM (SELECT command, id, min(command) OVER (PARTITION BY id) AS first_command
              FROM unnest(replay_command, replay_id) AS u (command, id)) AS r
        WHERE r.command > r.first_command OR EXISTS (SELECT FROM keyfold.replays WHERE replays.id = r.id);
    END IF;
    refused := conflicted || replayed;

    INSERT INTO keyfold.log (position, stream, version, record)
    SELECT before + row_number() OVER (ORDER BY n), stream, version, record::json
    FROM unnest(event_command, event_stream, event_version, event_record)
         WITH ORDINALITY AS e (command, stream, version, record, n)
    WHERE command <> ALL (refused);

    IF cardinality(secret_command) > 0 THEN
        INSERT INTO keyfold.key_secrets (id, pepper, digest)
        SELECT id, pepper, digest
        FROM unnest(secret_command, secret_id, secret_pepper, secret_digest) AS s (command, id, pepper, digest)
        WHERE command <> ALL (refused);
    END IF;

    IF cardinality(replay_command) > 0 THEN
        INSERT INTO keyfold.replays (id, fingerprint, answer, position)
        SELECT id, fingerprint, answer,
               before + (SELECT count(*) FROM unnest(event_command) AS e (c)
                         WHERE c <= r.command AND c <> ALL (refused))
        FROM unnest(replay_command, replay_id, replay_fingerprint, replay_answer) AS r (command, id, fingerprint, answer)
        WHERE command <> ALL (refused);
    END IF;
END
$$;

RESET ROLE;
REVOKE EXECUTE ON FUNCTION keyfold.append, keyfold.note_usage, keyfold.forget_addresses FROM PUBLIC;
GRANT USAGE ON SCHEMA keyfold TO keyfold_api, keyfold_worker;
GRANT EXECUTE ON FUNCTION keyfold.append TO keyfold_api, keyfold_worker; -- the worker writes down what time brings to keys
GRANT EXECUTE ON FUNCTION keyfold.note_usage TO keyfold_api;
GRANT EXECUTE ON FUNCTION keyfold.forget_addresses TO keyfold_worker;
GRANT SELECT ON keyfold.log TO keyfold_api, keyfold_worker;
GRANT SELECT ON keyfold.key_secrets, keyfold.replays TO keyfold_api;
GRANT SELECT (created_at), DELETE ON keyfold.replays TO keyfold_worker; -- forgets what is older than a day
GRANT SELECT ON keyfold.key_usage TO keyfold_api, keyfold_worker;
GRANT SELECT ON keyfold.key_addresses TO keyfold_api;

-- Projections: what can be rebuilt from the log. The worker owns them, and `projections_next` where it builds their like.
CREATE SCHEMA projections AUTHORIZATION keyfold_worker;
CREATE SCHEMA projections_next AUTHORIZATION keyfold_worker;
GRANT USAGE ON SCHEMA projections TO keyfold_api;
ALTER DEFAULT PRIVILEGES FOR ROLE keyfold_worker IN SCHEMA projections GRANT SELECT ON TABLES TO keyfold_api;
ALTER DEFAULT PRIVILEGES FOR ROLE keyfold_worker IN SCHEMA projections_next GRANT SELECT ON TABLES TO keyfold_api;
SET LOCAL ROLE keyfold_worker;

CREATE TABLE projections.cursors (
    projection text PRIMARY KEY,
    position   bigint NOT NULL DEFAULT 0
);
INSERT INTO projections.cursors (projection) VALUES ('current'), ('audit');

-- The projection `current`: the state that each stream has by now, folded by the same code as a single read.
CREATE TABLE projections.integrations (
    id           text PRIMARY KEY,
    workspace_id text NOT NULL,
    status       text NOT NULL,
    version      integer NOT NULL,
    state        json NOT NULL
);
CREATE INDEX integrations_workspace ON projections.integrations (workspace_id, id);

CREATE TABLE projections.partners (
    id             text PRIMARY KEY,
    workspace_id   text NOT NULL,
    integration_id text NOT NULL,
    status         text NOT NULL,
    version        integer NOT NULL,
    state          json NOT NULL
);
CREATE INDEX partners_workspace ON projections.partners (workspace_id, id);
CREATE INDEX partners_integration ON projections.partners (integration_id, id);

CREATE TABLE projections.links (
    id             text PRIMARY KEY,
    workspace_id   text NOT NULL,
    integration_id text NOT NULL,
    partner_id     text NOT NULL,
    status         text NOT NULL,
    version        integer NOT NULL,
    state          json NOT NULL
);
CREATE INDEX links_workspace ON projections.links (workspace_id, id);
CREATE INDEX links_partner ON projections.links (partner_id, id);

CREATE TABLE projections.keys (
    id             text PRIMARY KEY,
    workspace_id   text NOT NULL,
    integration_id text,
    partner_id     text,
    kind           text NOT NULL,
    environment    text,
    parent_id      text,
    status         text NOT NULL,
    role           text,
    tags           text NOT NULL, -- each between line feeds, which no tag has
    not_before     timestamptz,
    expires_at     timestamptz,
    retires_at     timestamptz,
    rotated        boolean NOT NULL,
    issued_at      timestamptz NOT NULL,
    idle_seconds   integer,
    due_at         timestamptz, -- when the schedule has something to write down next
    version        integer NOT NULL,
    state          json NOT NULL
);
CREATE INDEX keys_workspace ON projections.keys (workspace_id, id);
CREATE INDEX keys_partner ON projections.keys (partner_id, id);
CREATE INDEX keys_due ON projections.keys (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX keys_idle ON projections.keys (issued_at, id) WHERE idle_seconds IS NOT NULL AND status = 'active';

CREATE TABLE projections.roles (
    id           text PRIMARY KEY,
    workspace_id text NOT NULL,
    status       text NOT NULL,
    version      integer NOT NULL,
    state        json NOT NULL
);
CREATE INDEX roles_workspace ON projections.roles (workspace_id, id);

-- The projection `audit`: indexes over the log for those who search it. The record itself is read from the log.
CREATE TABLE projections.audit (
    position       bigint PRIMARY KEY,
    workspace_id   text NOT NULL,
    type           text NOT NULL,
    stream         text NOT NULL,
    time           timestamptz NOT NULL,
    actor_kind     text NOT NULL,
    actor_id       text NOT NULL,
    address        text,
    correlation_id text NOT NULL,
    integration_id text,
    partner_id     text,
    key_id         text
);
CREATE INDEX audit_workspace ON projections.audit (workspace_id, position);
CREATE INDEX audit_partner ON projections.audit (partner_id, position);
CREATE INDEX audit_key ON projections.audit (key_id, position);
CREATE INDEX audit_actor ON projections.audit (actor_id, position);
CREATE INDEX audit_correlation ON projections.audit (correlation_id, position);
CREATE INDEX audit_issued_from ON projections.audit (address, time) WHERE type = 'key.issued.v1';

-- How the long-lived loops of every worker process are; read by /health/ready.
CREATE TABLE projections.loops (
    process text NOT NULL,
    loop    text NOT NULL,
    status  text NOT NULL,
    detail  text NOT NULL DEFAULT '',
    beat_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (process, loop)
);

RESET ROLE;
