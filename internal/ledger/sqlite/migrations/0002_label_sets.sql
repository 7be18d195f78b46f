-- The budget of label sets, the operator's labels, and what was forgotten.

ALTER TABLE totals ADD COLUMN labels     TEXT    NOT NULL DEFAULT '[]'; -- JSON array: what totals_runs.labels may have
ALTER TABLE totals ADD COLUMN max_sets   INTEGER NOT NULL DEFAULT 0;    -- what new label sets were folded by; 0: there was no limit
ALTER TABLE totals ADD COLUMN exact_from INTEGER NOT NULL DEFAULT 1;    -- jobs.seq: which counter has an earlier job can't be told
ALTER TABLE totals ADD COLUMN forgotten  INTEGER NOT NULL DEFAULT 0;    -- jobs that were taken out of the counters

-- jobs.seq of the counter's first job: later jobs of its label set are in it, earlier
-- ones in one with __other__. 0: not known, for it began before there was a budget.
ALTER TABLE totals_runs ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
