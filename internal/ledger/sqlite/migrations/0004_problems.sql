-- What was wrong with reports lately: the thousand problems that were last seen.
CREATE TABLE problems (
    kind       TEXT    NOT NULL,      -- rejected, warned or refused
    project    TEXT    NOT NULL,      -- as it was sent, shortened; empty: none
    field      TEXT    NOT NULL,      -- empty: the item or the request as a whole
    reason     TEXT    NOT NULL,
    template   TEXT    NOT NULL,      -- from here on of the last time
    remedy     TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    sender     TEXT    NOT NULL,      -- host of the connection's other end
    count      INTEGER NOT NULL,      -- since first_seen
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    PRIMARY KEY (kind, project, field, reason)
) STRICT, WITHOUT ROWID;
