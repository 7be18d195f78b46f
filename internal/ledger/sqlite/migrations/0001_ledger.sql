-- Times are Unix microseconds, durations microseconds.

-- When this ledger was made. One row.
CREATE TABLE ledger (
    created INTEGER NOT NULL
) STRICT;

-- The log: one row for each finished job that was recorded. Everything else is
-- computed from it.
CREATE TABLE jobs (
    seq      INTEGER PRIMARY KEY,     -- in the order of recording, never used twice
    received INTEGER NOT NULL,
    name     TEXT    NOT NULL,        -- the template, folded
    project  TEXT    NOT NULL,
    status   TEXT    NOT NULL,
    started  INTEGER,                 -- NULL: not known
    finished INTEGER NOT NULL,
    duration INTEGER,                 -- NULL: not known
    id       TEXT,                    -- idempotency key; NULL: none
    version  TEXT    NOT NULL DEFAULT '', -- from here on empty: not known
    job      TEXT    NOT NULL DEFAULT '',
    url      TEXT    NOT NULL DEFAULT '',
    stage    TEXT    NOT NULL DEFAULT '',
    ref      TEXT    NOT NULL DEFAULT '',
    sha      TEXT    NOT NULL DEFAULT '',
    pipeline TEXT    NOT NULL DEFAULT '',
    runner   TEXT    NOT NULL DEFAULT '',
    source   TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE UNIQUE INDEX jobs_id ON jobs (id) WHERE id IS NOT NULL;

-- The checkpoint of the totals. At most one row; none: nothing was stored yet.
CREATE TABLE totals (
    up_to    INTEGER NOT NULL,        -- jobs.seq of the last row in the totals
    bounds   TEXT    NOT NULL,        -- JSON array of seconds: what totals_durations.buckets were counted by
    last_job INTEGER                  -- jobs.received of the latest job; NULL: none yet
) STRICT;

CREATE TABLE totals_runs (
    template TEXT    NOT NULL,
    project  TEXT    NOT NULL,
    status   TEXT    NOT NULL,
    labels   TEXT    NOT NULL,        -- the operator's labels as a JSON object with sorted keys; empty: none
    created  INTEGER NOT NULL,        -- jobs.received of the first job
    count    INTEGER NOT NULL,
    PRIMARY KEY (template, project, status, labels)
) STRICT, WITHOUT ROWID;

CREATE TABLE totals_durations (
    template TEXT    NOT NULL,
    status   TEXT    NOT NULL,
    labels   TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    sum      INTEGER NOT NULL,
    buckets  TEXT    NOT NULL,        -- JSON array: jobs per bound, not added up, and one more for the rest
    zero     INTEGER NOT NULL,        -- jobs that took no time at all
    exp      TEXT    NOT NULL,        -- JSON object: jobs per exponential bucket, growth 2^(1/8), by index
    PRIMARY KEY (template, status, labels)
) STRICT, WITHOUT ROWID;
