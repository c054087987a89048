//! Walks the folders under a template's root and finds whose Maildirs they are.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use walkdir::{DirEntry, WalkDir};

use super::{
    listing::Builder,
    source::is_hidden,
    template::{MatchError, Template},
    username_format::Piece,
};
use crate::stamp::Stamp;

/// A symbolic link that leads out of where it may point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outside {
    /// The link.
    pub link: PathBuf,
    /// Where it leads.
    pub target: PathBuf,
}

/// Finds the users whose folders are at or below `folder`, which is the template's root or lies under it.
pub(super) fn scan(template: &Template, folder: &Path, builder: &mut Builder<'_>) {
    // A folder above the root has appeared, and perhaps the root with it.
    let folder = if template.root().starts_with(folder) { template.root() } else { folder };
    let Ok(below_root) = folder.strip_prefix(template.root()) else { return };
    // The walk checks the links that it meets, and follows the one that it starts at: a folder that has just appeared may be one.
    if !below_root.as_os_str().is_empty() && folder.is_symlink() {
        match inside(folder, template.root()) {
            Ok(true) => {}
            Ok(false) => return,
            Err(outside) => return builder.link(&outside),
        }
    }
    let depth = below_root.iter().count();
    let names_end = template.depth_of_names();
    if depth > names_end {
        return;
    }
    let wanted = |entry: &DirEntry| {
        let Some(level) = (depth + entry.depth()).checked_sub(1) else { return true };
        entry.depth() == 0 || may_match(template, level, entry.file_name())
    };
    let walk = WalkDir::new(folder).max_depth(names_end - depth).follow_links(false).into_iter();
    for entry in walk.filter_entry(wanted) {
        match entry {
            Ok(entry) => visit(template, &entry, depth + entry.depth(), builder),
            // What vanished since it was listed is not there; anything else hides users.
            Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => {
                if error.depth() == 0 && folder == template.root() {
                    unreadable(template.root(), "there is no such folder", builder);
                    if let Some(above) = template.root().ancestors().find(|above| above.is_dir()) {
                        builder.folder(above, None);
                    }
                }
            }
            Err(error) => unreadable(error.path().unwrap_or(folder), &error.to_string(), builder),
        }
    }
}

fn unreadable(path: &Path, error: &str, builder: &mut Builder<'_>) {
    builder.refuse(
        format!("cannot look for users in `{}`: {error}", path.display()),
        "the folder must exist, and the daemon's user must be able to list it",
    );
}

/// One entry at `depth` components below the root.
fn visit(template: &Template, entry: &DirEntry, depth: usize, builder: &mut Builder<'_>) {
    let is_link = entry.path_is_symlink();
    if is_link && entry.depth() > 0 {
        // walkdir does not follow links, so what a link leads to gets a walk of its own, under the link's name, which checks it.
        return scan(template, entry.path(), builder);
    }
    if !is_link && !entry.file_type().is_dir() {
        return;
    }
    if depth < template.depth_of_names() {
        // Its entries are read after this, so a change that they do not show changes the stamp.
        return builder.folder(entry.path(), Stamp::look(entry.path()).ok());
    }
    let Ok(relative) = entry.path().strip_prefix(template.root()) else { return };
    let tail: Vec<OsString> =
        template.components()[depth..].iter().map(|component| literal(component)).collect();
    let tail: Vec<&OsStr> = tail.iter().map(OsString::as_os_str).collect();
    let names: Vec<&OsStr> = relative.iter().chain(tail.iter().copied()).collect();
    let user = match template.user_of(&names) {
        Ok(user) => user,
        Err(MatchError::NoMatch) => return,
        Err(MatchError::Ambiguous(users)) => {
            let users: Vec<_> = users.iter().map(|user| format!("`{user}`")).collect();
            let message =
                format!("`{}` can be the mailbox of {}", entry.path().display(), users.join(" or of "));
            return builder.refuse(message, "name its user under `users` or in the map file");
        }
    };
    match below(template.root(), entry.path(), &tail) {
        Ok((maildir, identity)) => builder.entry(&user, &maildir, identity),
        Err(outside) => builder.link(&outside),
    }
}

/// Where the Maildir is if `folder` is as deep as the folder of a user.
pub(super) fn maildir_in(template: &Template, folder: &Path) -> Option<PathBuf> {
    let depth = folder.strip_prefix(template.root()).ok()?.iter().count();
    let tail = template.components().get(depth..).filter(|_| depth == template.depth_of_names())?;
    let mut maildir = folder.to_owned();
    maildir.extend(tail.iter().map(|component| literal(component)));
    Some(maildir)
}

/// A cheap look at one component, to leave out whole trees that cannot match.
fn may_match(template: &Template, level: usize, name: &OsStr) -> bool {
    match template.components().get(level).map(Vec::as_slice) {
        Some([Piece::Literal(_)]) => literal(&template.components()[level]) == name,
        Some([Piece::Variable(_), ..]) => !is_hidden(name),
        Some(_) => true,
        None => false,
    }
}

fn literal(component: &[Piece]) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    let bytes = component.iter().flat_map(|piece| match piece {
        Piece::Literal(literal) => literal.as_slice(),
        Piece::Variable(_) => &[],
    });
    OsString::from_vec(bytes.copied().collect())
}

/// The path of the Maildir at `tail` below `base`, with its device and inode if it exists.
///
/// # Errors
/// If a link on the way leads out of `root`.
pub(super) fn below(
    root: &Path,
    base: &Path,
    tail: &[&OsStr],
) -> Result<(PathBuf, Option<(u64, u64)>), Outside> {
    let mut path = base.to_owned();
    let mut identity = fs::metadata(base).ok().map(|found| (found.dev(), found.ino()));
    for name in tail {
        path.push(name);
        identity = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                inside(&path, root)?;
                fs::metadata(&path).ok().map(|found| (found.dev(), found.ino()))
            }
            Ok(found) => Some((found.dev(), found.ino())),
            Err(_) => None,
        };
    }
    Ok((path, identity))
}

/// Does a link lead to a folder under `root`? `Ok(false)` if it leads nowhere.
fn inside(link: &Path, root: &Path) -> Result<bool, Outside> {
    let outside = |target| Outside { link: link.to_owned(), target };
    match (fs::canonicalize(link), fs::canonicalize(root)) {
        (Ok(target), Ok(root)) if target.starts_with(&root) && target != root => Ok(target.is_dir()),
        (Ok(target), _) => Err(outside(target)),
        // A dangling link is reported only if it shows where it would lead.
        (Err(_), _) => match fs::read_link(link) {
            Ok(target) if target.is_absolute() && !target.starts_with(root) => Err(outside(target)),
            _ => Ok(false),
        },
    }
}
