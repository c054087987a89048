//! The table of records of mailboxes.

use std::{os::unix::ffi::OsStrExt, path::PathBuf};

use rusqlite::{Connection, Row};

use crate::{
    registry::VisitRecord,
    stamp::{Stamp, Stamps},
};

/// Visits each record. False if none have ever been kept.
pub(super) fn each(connection: &Connection, visit: &mut VisitRecord<'_>) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM setting WHERE name = 'records'";
    if !connection.prepare(sql)?.exists([])? {
        return Ok(false);
    }
    let mut statement = connection.prepare(
        "SELECT maildir, new_device, new_inode, new_mtime, cur_device, cur_inode, cur_mtime FROM record",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(row.get_ref(0)?.as_blob()?, [stamp(row, 1)?, stamp(row, 4)?]);
    }
    drop(rows);
    drop(statement);
    // Nobody reads them again.
    connection.release_memory()?;
    Ok(true)
}

/// Adds or replaces records, and removes others.
pub(super) fn keep(
    connection: &Connection,
    kept: &[(PathBuf, Stamps)],
    gone: &[PathBuf],
) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR IGNORE INTO setting VALUES ('records', '')")?.execute([])?;
    let mut remove = connection.prepare_cached("DELETE FROM record WHERE maildir = ?1")?;
    for maildir in gone {
        remove.execute([maildir.as_os_str().as_bytes()])?;
    }
    let mut put =
        connection.prepare_cached("INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for (maildir, [new, cur]) in kept {
        let ([d1, i1, t1], [d2, i2, t2]) = (columns(*new), columns(*cur));
        put.execute((maildir.as_os_str().as_bytes(), d1, i1, t1, d2, i2, t2))?;
    }
    Ok(())
}

/// Device, inode and mtime as SQLite has them, whose integers have a sign.
fn columns(stamp: Option<Stamp>) -> [Option<i64>; 3] {
    match stamp {
        Some(stamp) => [
            Some(stamp.device().cast_signed()),
            Some(stamp.inode().cast_signed()),
            (!stamp.is_racy()).then_some(stamp.mtime()),
        ],
        None => [None; 3],
    }
}

fn stamp(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Stamp>> {
    let (Some(device), Some(inode)): (Option<i64>, Option<i64>) = (row.get(first)?, row.get(first + 1)?)
    else {
        return Ok(None);
    };
    let mtime: Option<i64> = row.get(first + 2)?;
    let is_racy = mtime.is_none();
    Ok(Some(Stamp::kept(device.cast_unsigned(), inode.cast_unsigned(), mtime.unwrap_or_default(), is_racy)))
}
