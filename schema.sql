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
    position     bigint PRIMARY KEY CHECK (position > 0),
    stream       text NOT NULL,
    version      integer NOT NULL CHECK (version > 0),
    record       json NOT NULL CHECK (octet_length(record::text) <= 65536), -- json keeps the text as written, jsonb doesn't
    workspace_id text NOT NULL,
    number       bigint NOT NULL CHECK (number > 0), -- 1, 2, 3 … of its workspace, without a gap
    UNIQUE (stream, version),
    UNIQUE (workspace_id, number)
);

CREATE FUNCTION keyfold.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'keyfold.% is append-only: % refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON keyfold.log
    FOR EACH STATEMENT EXECUTE FUNCTION keyfold.refuse_change();
ALTER TABLE keyfold.log ENABLE ALWAYS TRIGGER append_only; -- session_replication_role = replica doesn't silence it

-- The log's Merkle tree (RFC 6962): how far it is, and its hashes in tiles of 256 (c2sp.org/tlog-tiles). The last tile of
-- each level is partial, and grows.
CREATE TABLE keyfold.tree (
    the_one boolean PRIMARY KEY DEFAULT true CHECK (the_one),
    size    bigint NOT NULL, -- leaf n is position n + 1
    root    bytea NOT NULL CHECK (octet_length(root) = 32)
);
INSERT INTO keyfold.tree (size, root) VALUES (0, sha256(''));

CREATE TABLE keyfold.tiles (
    level  smallint NOT NULL,
    index  bigint NOT NULL,
    hashes bytea NOT NULL CHECK (octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0),
    PRIMARY KEY (level, index)
);
ALTER TABLE keyfold.tiles ALTER COLUMN hashes SET STORAGE EXTERNAL; -- there is nothing in hashes to compress

-- What was signed of it, for ever: one checkpoint a size, and what witnesses signed of that.
CREATE TABLE keyfold.checkpoints (
    size       bigint PRIMARY KEY,
    root       bytea NOT NULL,
    note       text NOT NULL, -- with the signatures of the log's own keys
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE keyfold.cosignatures (
    size       bigint NOT NULL REFERENCES keyfold.checkpoints,
    witness    text NOT NULL, -- the verifier key
    line       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (witness, size)
);
CREATE INDEX cosignatures_size ON keyfold.cosignatures (size);

-- The verifier keys that checkpoints were ever signed with.
CREATE TABLE keyfold.log_keys (
    vkey     text PRIMARY KEY,
    size     bigint NOT NULL, -- of the tree when it was new
    added_at timestamptz NOT NULL DEFAULT now()
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON keyfold.checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION keyfold.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON keyfold.cosignatures
    FOR EACH STATEMENT EXECUTE FUNCTION keyfold.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON keyfold.log_keys
    FOR EACH STATEMENT EXECUTE FUNCTION keyfold.refuse_change();
ALTER TABLE keyfold.checkpoints ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE keyfold.cosignatures ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE keyfold.log_keys ENABLE ALWAYS TRIGGER append_only;

-- One step of the tree: its new size and root, the tiles that are new or have grown, and a checkpoint of it if it is time
-- for one. All of it, or nothing and false when the tree isn't at known_size any more, or has been signed as large.
CREATE FUNCTION keyfold.grow_tree(
    known_size bigint, new_size bigint, new_root bytea,
    tile_level smallint[], tile_index bigint[], tile_hashes bytea[], checkpoint text
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept integer;
BEGIN
    PERFORM FROM keyfold.tree WHERE size = known_size FOR UPDATE;
    IF NOT FOUND OR EXISTS (SELECT FROM keyfold.checkpoints AS c WHERE c.size >= new_size AND checkpoint IS NOT NULL) THEN
        RETURN false;
    END IF;
    UPDATE keyfold.tree SET size = new_size, root = new_root WHERE new_size > size OR (new_size = size AND new_root = root);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the tree only grows: from % to % refused', known_size, new_size;
    END IF;
    INSERT INTO keyfold.tiles AS t (level, index, hashes)
    SELECT level, index, hashes FROM unnest(tile_level, tile_index, tile_hashes) AS grown (level, index, hashes)
    ON CONFLICT (level, index) DO UPDATE SET hashes = excluded.hashes
    WHERE substr(excluded.hashes, 1, octet_length(t.hashes)) = t.hashes;
    GET DIAGNOSTICS kept = ROW_COUNT;
    IF kept <> coalesce(cardinality(tile_level), 0) THEN
        RAISE EXCEPTION 'a tile only grows: another beginning refused';
    END IF;
    IF checkpoint IS NOT NULL THEN
        INSERT INTO keyfold.checkpoints (size, root, note) VALUES (new_size, new_root, checkpoint);
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION keyfold.cosign(of_size bigint, by_witness text, cosignature text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO keyfold.cosignatures (size, witness, line) VALUES (of_size, by_witness, cosignature) ON CONFLICT DO NOTHING;
END;

CREATE FUNCTION keyfold.add_log_key(new_vkey text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO keyfold.log_keys (vkey, size) SELECT new_vkey, size FROM keyfold.tree ON CONFLICT DO NOTHING;
END;

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
    subjects    text[] NOT NULL, -- whose personal data it may show
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX replays_created_at ON keyfold.replays (created_at);

-- What personal data in records is sealed with: a key for each partner and each operator (an account or integration key),
-- wrapped by what is derived from a pepper. Whoever deletes one has erased what it sealed: keyfold.append alone, together
-- with the fact.
CREATE TABLE keyfold.data_keys (
    subject text PRIMARY KEY, -- the id of the partner or of the key
    pepper  smallint NOT NULL,
    wrapped bytea NOT NULL
);

-- Which streams were erased, partners with all of their keys: where they are seen afterwards isn't kept.
CREATE TABLE keyfold.erased (
    id text PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);

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
    WHERE NOT EXISTS (SELECT FROM keyfold.erased WHERE erased.id = s.key_id)
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
           OR key_id IN (SELECT id FROM keyfold.erased) -- noted while it was being erased
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

-- How keys are used for events: counts, bytes and latencies by key, minute and outcome. Observations as well. What is
-- older than two weeks is added up to hours, which stand at their first minute.
CREATE TABLE keyfold.event_usage (
    key_id  text NOT NULL,
    minute  integer NOT NULL, -- since 1970, UTC
    outcome text NOT NULL,
    count   bigint NOT NULL,
    bytes   bigint NOT NULL,
    buckets bigint[] NOT NULL, -- of the latency histogram, whose bounds are app/event_usage.py's; empty without any
    PRIMARY KEY (key_id, minute, outcome)
);
CREATE INDEX event_usage_minute ON keyfold.event_usage (minute);
CREATE INDEX event_usage_by_minutes ON keyfold.event_usage (minute) WHERE minute % 60 <> 0; -- what is no hour yet

-- Which batches are in it. NATS may deliver one again, for as long as it keeps it or a process has no answer about it.
CREATE TABLE keyfold.event_usage_batches (
    id         text PRIMARY KEY,
    written_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX event_usage_batches_written_at ON keyfold.event_usage_batches (written_at);

-- What was last seen of the consumers that apps read from at JetStream itself.
CREATE TABLE keyfold.consumer_samples (
    stream    text NOT NULL,
    consumer  text NOT NULL,
    created   text NOT NULL, -- the consumer's own time of creation: another one counts from 0
    delivered bigint NOT NULL,
    settled   bigint NOT NULL,
    PRIMARY KEY (stream, consumer)
);

CREATE FUNCTION keyfold.add_buckets(a bigint[], b bigint[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE
RETURN CASE WHEN b = '{}' THEN a WHEN a = '{}' THEN b ELSE (
    SELECT array_agg(coalesce(x, 0) + coalesce(y, 0) ORDER BY n)
    FROM unnest(a, b) WITH ORDINALITY AS u (x, y, n)
) END;

-- Every call locks its rows in the same order, so that no two wait for each other.
CREATE FUNCTION keyfold.add_event_usage(added keyfold.event_usage[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    INSERT INTO keyfold.event_usage AS known (key_id, minute, outcome, count, bytes, buckets)
    SELECT key_id, minute, outcome, count, bytes, buckets FROM unnest(added) ORDER BY key_id, minute, outcome
    ON CONFLICT (key_id, minute, outcome) DO UPDATE
    SET count = known.count + excluded.count, bytes = known.bytes + excluded.bytes,
        buckets = keyfold.add_buckets(known.buckets, excluded.buckets);
END;

-- Adds a batch of [key, minute, outcome, count, bytes, [buckets]], unless it has been added before; whether it was now.
CREATE FUNCTION keyfold.note_event_usage(batch text, tallies json) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO keyfold.event_usage_batches (id) VALUES (batch) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM keyfold.add_event_usage(array_agg(ROW(
        t->>0, (t->>1)::integer, t->>2, (t->>3)::bigint, (t->>4)::bigint,
        ARRAY(SELECT n::bigint FROM json_array_elements_text(t->5) AS n)
    )::keyfold.event_usage)) FROM json_array_elements(tallies) AS t;
    RETURN true;
END
$$;

-- Adds what consumers have delivered and settled since they were last seen, to the minute in which it is seen.
CREATE FUNCTION keyfold.note_consumers(
    seen_minute integer, seen_key_id text[], seen_stream text[], seen_consumer text[], seen_created text[],
    seen_delivered bigint[], seen_settled bigint[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7309453272); -- a leader that doesn't know yet that it is none may be at it too
    PERFORM keyfold.add_event_usage(array_agg(ROW(key_id, seen_minute, outcome, more, 0, '{}')::keyfold.event_usage))
    FROM (
        SELECT key_id, outcome, sum(now - before) AS more
        FROM unnest(seen_key_id, seen_stream, seen_consumer, seen_created, seen_delivered, seen_settled)
             AS s (key_id, stream, consumer, created, delivered, settled)
        LEFT JOIN keyfold.consumer_samples AS known USING (stream, consumer, created)
        CROSS JOIN LATERAL (VALUES
            ('delivered', s.delivered, coalesce(known.delivered, 0)),
            ('acknowledged', s.settled, coalesce(known.settled, 0))
        ) AS each (outcome, now, before)
        WHERE now > before
        GROUP BY key_id, outcome
    ) AS found;

    INSERT INTO keyfold.consumer_samples AS known (stream, consumer, created, delivered, settled)
    SELECT * FROM unnest(seen_stream, seen_consumer, seen_created, seen_delivered, seen_settled)
    ON CONFLICT (stream, consumer) DO UPDATE SET created = excluded.created,
        delivered = greatest(excluded.delivered, CASE WHEN known.created = excluded.created THEN known.delivered END),
        settled = greatest(excluded.settled, CASE WHEN known.created = excluded.created THEN known.settled END);
END
$$;

-- Adds up to hours what is older than 14 days, some at a time, and forgets hours after 400 days, and batches after 30
-- days: no stream keeps one, and no process waits for an answer about one, for so long. Whether there may be more to do.
CREATE FUNCTION keyfold.age_event_usage() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most   constant integer := 20000;
    moment constant integer := extract(epoch FROM now())::bigint / 60;
    aged   integer;
    gone   integer;
BEGIN
    WITH old AS (
        DELETE FROM keyfold.event_usage WHERE (key_id, minute, outcome) IN (
            SELECT key_id, minute, outcome FROM keyfold.event_usage
            WHERE minute % 60 <> 0 AND minute < moment - 14 * 1440
            ORDER BY minute LIMIT most
            FOR UPDATE SKIP LOCKED
        )
        RETURNING key_id, minute - minute % 60 AS hour, outcome, count, bytes, buckets
    ), latencies AS (
        SELECT key_id, hour, outcome, array_agg(sum ORDER BY n) AS buckets
        FROM (
            SELECT key_id, hour, outcome, n, sum(bucket)::bigint AS sum
            FROM old CROSS JOIN unnest(old.buckets) WITH ORDINALITY AS u (bucket, n) GROUP BY key_id, hour, outcome, n
        ) AS s
        GROUP BY key_id, hour, outcome
    ), hours AS (
        SELECT key_id, hour, outcome, sum(count)::bigint AS count, sum(bytes)::bigint AS bytes, count(*) AS minutes
        FROM old GROUP BY key_id, hour, outcome
    ), added AS (
        SELECT keyfold.add_event_usage(array_agg(ROW(
            key_id, hour, outcome, count, bytes, coalesce(buckets, '{}')
        )::keyfold.event_usage)) FROM hours LEFT JOIN latencies USING (key_id, hour, outcome)
    )
    SELECT coalesce(sum(minutes), 0) INTO aged FROM hours, added;

    DELETE FROM keyfold.event_usage WHERE (key_id, minute, outcome) IN (
        SELECT key_id, minute, outcome FROM keyfold.event_usage WHERE minute < moment - 400 * 1440 LIMIT most
    );
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM keyfold.event_usage_batches WHERE written_at < now() - interval '30 days';
    RETURN aged = most OR gone = most;
END
$$;

-- Appends a batch of commands, each all or nothing and each on its own: a refused one takes nothing from the others.
-- A command is refused as conflicted when one of its streams has moved on (or is written by an earlier command of the
-- batch), as replayed when its idempotency key has been used. Must be called as a single autocommit statement, so that the
-- lock never waits for a client. Under READ COMMITTED each statement in here takes its snapshot after the lock.
-- event_command: for each event the number of its command, 1, 2, 3 …, ascending. before: the last position until now.
-- A record comes without its number in its workspace, and gets it in front: {"number":7, and what follows the brace.
CREATE FUNCTION keyfold.append(
    event_command integer[], event_stream text[], event_version integer[], event_record text[], event_workspace text[],
    secret_command integer[], secret_id text[], secret_pepper smallint[], secret_digest bytea[],
    replay_command integer[], replay_id bytea[], replay_fingerprint bytea[], replay_answer bytea[],
    replay_subjects text[],
    data_key_command integer[], data_key_subject text[], data_key_pepper smallint[], data_key_wrapped bytea[],
    erased_command integer[], erased_stream text[],
    OUT before bigint, OUT conflicted integer[], OUT replayed integer[]
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- planning takes longer than running, so a plan is made once; made while the log is small, it must use the indexes too
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    refused   integer[];
    workspace text := event_workspace[1];
    last      bigint; -- number of that workspace
BEGIN
    PERFORM pg_advisory_xact_lock(7309453271); -- any number that nothing else here locks
    SELECT coalesce((SELECT max(log.position) FROM keyfold.log), 0),
           coalesce((SELECT max(log.number) FROM keyfold.log WHERE log.workspace_id = workspace), 0)
    INTO before, last;

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

    IF workspace = ALL (event_workspace) THEN -- as nearly always, and then it is cheaper
        INSERT INTO keyfold.log (position, stream, version, record, workspace_id, number)
        SELECT before + row_number() OVER w, stream, version,
               ('{"number":' || last + row_number() OVER w || ',' || right(record, -1))::json,
               workspace, last + row_number() OVER w
        FROM unnest(event_command, event_stream, event_version, event_record)
             WITH ORDINALITY AS e (command, stream, version, record, n)
        WHERE command <> ALL (refused)
        WINDOW w AS (ORDER BY n);
    ELSE
        INSERT INTO keyfold.log (position, stream, version, record, workspace_id, number)
        SELECT before + nth, stream, version, ('{"number":' || numbered || ',' || right(record, -1))::json,
               of_workspace, numbered
        FROM (
            SELECT row_number() OVER (ORDER BY n) AS nth, stream, version, record, of_workspace,
                   coalesce((SELECT max(log.number) FROM keyfold.log WHERE log.workspace_id = of_workspace), 0)
                   + row_number() OVER (PARTITION BY of_workspace ORDER BY n) AS numbered
            FROM unnest(event_command, event_stream, event_version, event_record, event_workspace)
                 WITH ORDINALITY AS e (command, stream, version, record, of_workspace, n)
            WHERE command <> ALL (refused)
        ) AS accepted;
    END IF;

    IF cardinality(secret_command) > 0 THEN
        INSERT INTO keyfold.key_secrets (id, pepper, digest)
        SELECT id, pepper, digest
        FROM unnest(secret_command, secret_id, secret_pepper, secret_digest) AS s (command, id, pepper, digest)
        WHERE command <> ALL (refused);
    END IF;

    IF cardinality(replay_command) > 0 THEN
        INSERT INTO keyfold.replays (id, fingerprint, answer, subjects, position)
        SELECT id, fingerprint, answer, string_to_array(subjects, ' '),
               before + (SELECT count(*) FROM unnest(event_command) AS e (c)
                         WHERE c <= r.command AND c <> ALL (refused))
        FROM unnest(replay_command, replay_id, replay_fingerprint, replay_answer, replay_subjects)
             AS r (command, id, fingerprint, answer, subjects)
        WHERE command <> ALL (refused);
    END IF;

    IF cardinality(data_key_command) > 0 THEN
        INSERT INTO keyfold.data_keys (subject, pepper, wrapped)
        SELECT subject, pepper, wrapped
        FROM unnest(data_key_command, data_key_subject, data_key_pepper, data_key_wrapped)
             AS d (command, subject, pepper, wrapped)
        WHERE command <> ALL (refused);
    END IF;

    IF cardinality(erased_command) > 0 THEN
        INSERT INTO keyfold.erased (id)
        SELECT stream FROM unnest(erased_command, erased_stream) AS w (command, stream)
        WHERE command <> ALL (refused) AND EXISTS ( -- nothing is deleted without the fact that says so
            SELECT FROM unnest(event_command, event_stream, event_record) AS e (command, stream, record)
            WHERE e.command = w.command AND e.stream = w.stream
              AND record::json->>'type' IN ('partner.erased.v1', 'key.erased.v1')
        )
        ON CONFLICT DO NOTHING;
        DELETE FROM keyfold.data_keys
        WHERE subject IN (SELECT id FROM keyfold.erased WHERE id = ANY (erased_stream));
        DELETE FROM keyfold.key_addresses
        WHERE key_id IN (SELECT id FROM keyfold.erased WHERE id = ANY (erased_stream));
    END IF;
END
$$;

RESET ROLE;
REVOKE EXECUTE ON FUNCTION keyfold.append, keyfold.grow_tree, keyfold.cosign, keyfold.add_log_key,
    keyfold.note_usage, keyfold.forget_addresses, keyfold.add_buckets,
    keyfold.add_event_usage, keyfold.note_event_usage, keyfold.note_consumers, keyfold.age_event_usage FROM PUBLIC;
GRANT USAGE ON SCHEMA keyfold TO keyfold_api, keyfold_worker;
GRANT EXECUTE ON FUNCTION keyfold.append TO keyfold_api, keyfold_worker; -- the worker writes down what time brings to keys
GRANT EXECUTE ON FUNCTION keyfold.note_usage TO keyfold_api;
GRANT EXECUTE ON FUNCTION keyfold.forget_addresses, keyfold.note_event_usage, keyfold.note_consumers,
    keyfold.age_event_usage TO keyfold_worker;
GRANT EXECUTE ON FUNCTION keyfold.grow_tree, keyfold.cosign, keyfold.add_log_key TO keyfold_worker;
GRANT SELECT ON keyfold.log, keyfold.tiles, keyfold.checkpoints, keyfold.cosignatures, keyfold.log_keys
    TO keyfold_api, keyfold_worker;
GRANT SELECT ON keyfold.tree TO keyfold_worker;
GRANT SELECT ON keyfold.key_secrets, keyfold.replays TO keyfold_api;
GRANT SELECT (created_at), DELETE ON keyfold.replays TO keyfold_worker; -- forgets what is older than a day
GRANT SELECT ON keyfold.data_keys, keyfold.erased TO keyfold_api, keyfold_worker; -- keyfold.append alone changes them
GRANT SELECT ON keyfold.key_usage TO keyfold_api, keyfold_worker;
GRANT SELECT ON keyfold.key_addresses, keyfold.event_usage TO keyfold_api;

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
INSERT INTO projections.cursors (projection) VALUES ('current'), ('audit'), ('history');

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
    name           text NOT NULL,
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
    id              text PRIMARY KEY,
    workspace_id    text NOT NULL,
    integration_id  text,
    partner_id      text,
    kind            text NOT NULL,
    environment     text,
    parent_id       text,
    status          text NOT NULL,
    name            text NOT NULL,
    role            text,
    tags            text NOT NULL, -- each between line feeds, which no tag has
    not_before      timestamptz,
    expires_at      timestamptz,
    retires_at      timestamptz,
    rotated         boolean NOT NULL,
    issued_at       timestamptz NOT NULL,
    idle_seconds    integer,
    rotation_due_at timestamptz,
    due_at          timestamptz, -- when the schedule has something to write down next
    version         integer NOT NULL,
    state           json NOT NULL
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

CREATE TABLE projections.topics (
    id             text PRIMARY KEY,
    workspace_id   text NOT NULL,
    integration_id text NOT NULL,
    status         text NOT NULL,
    version        integer NOT NULL,
    state          json NOT NULL
);
CREATE INDEX topics_integration ON projections.topics (integration_id, id);

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
    key_id         text,
    id             text NOT NULL,
    causation_id   text,
    source         inet -- the address, where it is one
);
CREATE INDEX audit_workspace ON projections.audit (workspace_id, position);
CREATE INDEX audit_partner ON projections.audit (partner_id, position);
CREATE INDEX audit_key ON projections.audit (key_id, position);
CREATE INDEX audit_actor ON projections.audit (actor_id, position);
CREATE INDEX audit_correlation ON projections.audit (correlation_id, position);
CREATE INDEX audit_id ON projections.audit (id);
CREATE INDEX audit_caused ON projections.audit (causation_id) WHERE causation_id IS NOT NULL;
CREATE INDEX audit_source ON projections.audit (workspace_id, source, position) WHERE source IS NOT NULL;
CREATE INDEX audit_type ON projections.audit (workspace_id, type, position);
CREATE INDEX audit_integration ON projections.audit (integration_id, position);
CREATE INDEX audit_issued_from ON projections.audit (address, time) WHERE type = 'key.issued.v1';

-- The projection `history`: what there was at any position of the log, and what it could be found by then. Rows are only
-- ever added. What a thing was like is folded from the log, so there is no state here.
CREATE TABLE projections.things (
    id              text PRIMARY KEY,
    workspace_id    text NOT NULL,
    aggregate       text NOT NULL, -- the word for it: key, partner …
    position        bigint NOT NULL, -- where it began
    latest_id       text NOT NULL, -- the greatest id of such things of the workspace by then: lists go by ids
    integration_id  text,
    partner_id      text,
    kind            text,
    environment     text,
    issued_at       timestamptz,
    rotation_due_at timestamptz,
    UNIQUE (workspace_id, aggregate, position) INCLUDE (latest_id)
);
CREATE INDEX things_workspace ON projections.things (workspace_id, aggregate, id);
CREATE INDEX things_integration ON projections.things (integration_id, aggregate, id);
CREATE INDEX things_partner ON projections.things (partner_id, aggregate, id);

CREATE TABLE projections.versions (
    id           text NOT NULL,
    position     bigint NOT NULL, -- where it came to be like this
    version      integer NOT NULL,
    workspace_id text NOT NULL,
    time         timestamptz NOT NULL,
    status       text NOT NULL,
    parent_id    text,
    role         text,
    tags         text NOT NULL, -- each between line feeds, which no tag has
    name         text,
    not_before   timestamptz,
    expires_at   timestamptz,
    retires_at   timestamptz,
    rotated      boolean NOT NULL,
    PRIMARY KEY (id, position)
);
CREATE INDEX versions_workspace ON projections.versions (workspace_id, position);
CREATE INDEX versions_time ON projections.versions (workspace_id, time, position);

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
