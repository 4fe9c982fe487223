-- Whether the lock is had. One that holds it and has been silent for too long loses it, for the next attempt.
SELECT
    pg_try_advisory_lock(hashtext('keyfold leader'), hashtext($1)),
    (
        SELECT count(pg_terminate_backend(activity.pid))
        FROM pg_locks AS held
        JOIN pg_stat_activity AS activity USING (pid)
        WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 2
            AND held.classid = hashtext('keyfold leader')::oid AND held.objid = hashtext($1)::oid
            AND held.database = activity.datid AND activity.datname = current_database()
            AND activity.state_change < now() - make_interval(secs => $2)
    )
