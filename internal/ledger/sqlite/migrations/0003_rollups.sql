-- The roll-ups that KPI are answered from: see package rollup.

-- How far they are. At most one row; none: nothing was stored yet.
CREATE TABLE rollup (
    up_to    INTEGER NOT NULL,        -- jobs.seq of the last row in all blocks
    since    INTEGER NOT NULL,        -- jobs.seq of the first row from which on all are in; 0: none yet
    before   INTEGER NOT NULL,        -- how many rows are in that came before
    pruned   INTEGER NOT NULL,        -- jobs of blocks that were past their retention
    zone     TEXT    NOT NULL,        -- the time zone whose days the blocks are
    last     INTEGER NOT NULL,        -- the latest quarter of an hour with a job, from 1970 on
    failures BLOB    NOT NULL         -- failed jobs that may be tried again
) STRICT;

-- One block for each day and template. The lengthy column that is seldom read comes last.
CREATE TABLE rollup_blocks (
    day      INTEGER NOT NULL,        -- days from 1970-01-01 on, of the time zone
    template TEXT    NOT NULL,
    up_to    INTEGER NOT NULL,        -- jobs.seq of the last row in this block, or later
    jobs     INTEGER NOT NULL,        -- how many it has
    cells    BLOB    NOT NULL,        -- by project, version and status
    slots    BLOB    NOT NULL,        -- the same by quarters of an hour
    PRIMARY KEY (day, template)
) STRICT;

CREATE INDEX rollup_blocks_up_to ON rollup_blocks (up_to);
