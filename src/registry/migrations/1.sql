CREATE TABLE registration (
    user             TEXT    NOT NULL, -- normalised
    token            BLOB    NOT NULL,
    account          TEXT    NOT NULL, -- aps-account-id
    subtopic         TEXT    NOT NULL,
    topic            TEXT,             -- what the phone was told; null where nothing was
    mailboxes        TEXT    NOT NULL, -- JSON, as is the next
    acknowledged     TEXT    NOT NULL,
    first_registered INTEGER NOT NULL, -- times are milliseconds since 1970
    last_registered  INTEGER NOT NULL,
    last_push        INTEGER,
    last_answer      TEXT,
    bad_answers      INTEGER NOT NULL, -- BadDeviceToken so many times in a row
    superseded_at    INTEGER,
    suspended        TEXT,             -- why
    PRIMARY KEY (user, token, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE opted_out (
    user TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
