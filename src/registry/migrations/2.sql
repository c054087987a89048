-- What everybody has been told of: the state of each mailbox's new/ and cur/ that pushes have gone out for.
CREATE TABLE record (
    maildir    BLOB PRIMARY KEY, -- the path
    new_device INTEGER,          -- null where there was no such directory
    new_inode  INTEGER,
    new_mtime  INTEGER,          -- nanoseconds since 1970; null where a change may hide behind it
    cur_device INTEGER,
    cur_inode  INTEGER,
    cur_mtime  INTEGER
) STRICT, WITHOUT ROWID;
