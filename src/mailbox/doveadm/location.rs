//! Where a user's INBOX is, from what Dovecot says of him. Pure.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use thiserror::Error;

use super::{
    super::{
        Username,
        username_format::{self, Piece},
    },
    answers::{Settings, Version},
};

/// What Dovecot says of a user; empty where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// `home`.
    pub home: &'a [u8],
    /// 2.3: `mail`; 2.4: `mail_path`.
    pub mail: &'a [u8],
    /// 2.4: `mail_driver`.
    pub driver: &'a [u8],
    /// 2.4: `mail_inbox_path`.
    pub inbox_path: &'a [u8],
}

/// A Maildir that is somebody's INBOX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbox {
    /// The user's home, if the Maildir is below it.
    pub home: Option<PathBuf>,
    /// Its path, below the home if there is one, else absolute.
    pub path: PathBuf,
    /// No format was named: Dovecot would look what is there.
    pub is_guessed: bool,
}

impl Inbox {
    /// The whole path.
    #[must_use]
    pub fn maildir(&self) -> PathBuf {
        self.home.as_deref().unwrap_or(Path::new("/")).join(&self.path)
    }
}

/// Why a user has no Maildir that could be watched.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NoInbox {
    /// Another mailbox format.
    #[error("keeps mail as {0}, and only Maildirs can be watched")]
    Format(String),
    /// A layout in which INBOX is not where the mail is.
    #[error("has mail in the layout `{0}`, which does not tell where INBOX is")]
    Layout(String),
    /// Dovecot finds it by looking around.
    #[error("has no mail_location or mail_path, so Dovecot looks around for the mail")]
    Nowhere,
    /// No absolute path.
    #[error("has mail in `{0}`, which is no absolute path")]
    Relative(String),
    /// A path in a home that nobody knows.
    #[error("has mail in `{0}`, and no home")]
    NoHome(String),
    /// A variable that is unknown here.
    #[error("has an INBOX in `{path}`, with the {error}")]
    Variable {
        /// `mail_inbox_path`.
        path: String,
        /// What is wrong with it.
        error: username_format::FormatError,
    },
}

impl NoInbox {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Format(_) => "this user gets no push; `doveadm sync` can convert mail to a Maildir",
            Self::Layout(_) | Self::Variable { .. } => {
                "name the folder with `new` and `cur` of the INBOX under `users` or in the map file"
            }
            Self::Nowhere => {
                "set mail_location (2.3), or mail_driver and mail_path (2.4), in Dovecot's configuration"
            }
            Self::Relative(_) => {
                "write the path from the root, or from the home as `~/`, in Dovecot's configuration or user database"
            }
            Self::NoHome(_) => "let Dovecot's user database give a `home`, or set mail_home",
        }
    }
}

/// Where a user's INBOX is.
///
/// # Errors
/// If it is no Maildir, or if what Dovecot says does not tell where it is.
pub fn inbox(user: &Username, fields: &Fields<'_>, settings: &Settings) -> Result<Inbox, NoInbox> {
    match settings.version {
        Version::Location => of_location(fields),
        Version::DriverAndPath => of_driver_and_path(user, fields, settings),
    }
}

/// 2.3: `DRIVER:PATH[:KEY[=VALUE]…]`, with `::` for a colon. Its variables are replaced already, but `~` is left.
fn of_location(fields: &Fields<'_>) -> Result<Inbox, NoInbox> {
    if fields.mail.is_empty() {
        return Err(NoInbox::Nowhere);
    }
    let mut parts = parts(fields.mail).into_iter();
    let first = parts.next().unwrap_or_default();
    // A path cannot be taken for a format: those have neither slash nor tilde.
    let is_path = first.contains(&b'/') || first.starts_with(b"~");
    let (is_guessed, root) = match first.as_slice() {
        b"maildir" => (false, parts.next().unwrap_or_default()),
        b"auto" => (true, parts.next().unwrap_or_default()),
        _ if is_path => (true, first),
        format => return Err(NoInbox::Format(lossy(format))),
    };
    let mut inbox = None;
    for part in parts {
        if let Some(path) = part.strip_prefix(b"INBOX=") {
            inbox = Some(path.to_vec());
        } else if part == b"LAYOUT=index" || part.starts_with(b"DIRNAME=") {
            return Err(NoInbox::Layout(lossy(&part)));
        }
    }
    place(inbox.as_deref().unwrap_or(&root), fields.home, is_guessed)
}

/// 2.4: all is replaced in the path, nothing in the INBOX's.
fn of_driver_and_path(user: &Username, fields: &Fields<'_>, settings: &Settings) -> Result<Inbox, NoInbox> {
    let driver = if fields.driver.is_empty() { settings.driver.as_bytes() } else { fields.driver };
    let is_guessed = matches!(driver, b"" | b"auto");
    if !is_guessed && driver != b"maildir" {
        return Err(NoInbox::Format(lossy(driver)));
    }
    if fields.mail.is_empty() {
        return Err(NoInbox::Nowhere);
    }
    if settings.layout == "index" {
        return Err(NoInbox::Layout(settings.layout.clone()));
    }
    let inbox = if fields.inbox_path.is_empty() {
        expand(&settings.inbox_path, user, fields.home)?
    } else {
        fields.inbox_path.to_vec()
    };
    match inbox.first() {
        None => place(fields.mail, fields.home, is_guessed),
        Some(b'/' | b'~') => place(&inbox, fields.home, is_guessed),
        Some(_) => place(&[fields.mail, b"/", &inbox].concat(), fields.home, is_guessed),
    }
}

/// Replaces the variables of a configured path.
fn expand(text: &str, user: &Username, home: &[u8]) -> Result<Vec<u8>, NoInbox> {
    let mut path = Vec::new();
    for (number, text_after_home) in text.split("%{home}").enumerate() {
        if number > 0 && home.is_empty() {
            return Err(NoInbox::NoHome(text.to_owned()));
        }
        if number > 0 {
            path.extend_from_slice(home);
        }
        let pieces = username_format::parse(text_after_home)
            .map_err(|error| NoInbox::Variable { path: text.to_owned(), error })?;
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => path.extend_from_slice(&literal),
                Piece::Variable(variable) => path.extend_from_slice(&variable.value(user)),
            }
        }
    }
    Ok(path)
}

/// The Maildir at a path that may begin with `~`.
fn place(path: &[u8], home: &[u8], is_guessed: bool) -> Result<Inbox, NoInbox> {
    let has_home = home.starts_with(b"/");
    let absolute = match path.strip_prefix(b"~") {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => {
            if !has_home {
                return Err(NoInbox::NoHome(lossy(path)));
            }
            plain(&[home, rest].concat())
        }
        _ if path.starts_with(b"/") => plain(path),
        _ => return Err(NoInbox::Relative(lossy(path))),
    };
    let below = has_home.then(|| plain(home)).filter(|home| home != Path::new("/"));
    if let Some(home) = below
        && let Ok(below) = absolute.strip_prefix(&home)
        && below != Path::new("")
        && below.components().all(|part| matches!(part, Component::Normal(_)))
    {
        return Ok(Inbox { path: below.to_owned(), home: Some(home), is_guessed });
    }
    Ok(Inbox { home: None, path: absolute, is_guessed })
}

/// A path without `//`, `/./` and a slash at the end.
fn plain(path: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(path)).components().collect()
}

/// Takes a mail_location apart at its colons.
fn parts(location: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = location.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b':' && bytes.next_if_eq(&b':').is_none() {
            parts.push(Vec::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(byte);
        }
    }
    parts
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(version: Version) -> Settings {
        Settings {
            version,
            driver: "maildir".to_owned(),
            inbox_path: String::new(),
            layout: String::new(),
            namespace: None,
        }
    }

    fn shown(found: Result<Inbox, NoInbox>) -> String {
        match found {
            Ok(inbox) => format!("{}{}", inbox.maildir().display(), if inbox.is_guessed { "?" } else { "" }),
            Err(error) => error.to_string(),
        }
    }

    fn user() -> Username {
        Username::new("Jo@example.org").expect("a name")
    }

    /// As `doveadm mailbox path -u USER INBOX` of 2.3 says.
    #[test]
    fn locations_of_2_3() {
        for (mail, expected) in [
            ("maildir:~/Maildir", "/home/jo/Maildir"),
            ("maildir:~", "/home/jo"),
            ("maildir:~/M:LAYOUT=fs", "/home/jo/M"),
            ("maildir:~/M:LAYOUT=maildir++:INDEX=/x", "/home/jo/M"),
            ("maildir:~/M:LAYOUT=fs:INBOX=~/I", "/home/jo/I"),
            ("maildir:~/M:INBOX=~/M/.INBOX", "/home/jo/M/.INBOX"),
            ("maildir:~/M::x", "/home/jo/M:x"),
            ("maildir:/var//vmail/./jo/", "/var/vmail/jo"),
            ("maildir:~/M:INBOX=I", "has mail in `I`, which is no absolute path"),
            ("maildir:M", "has mail in `M`, which is no absolute path"),
            ("maildir:~jo/M", "has mail in `~jo/M`, which is no absolute path"),
            ("maildir:", "has mail in ``, which is no absolute path"),
            ("/srv/jo", "/srv/jo?"),
            ("~/mail", "/home/jo/mail?"),
            ("auto:~/mail", "/home/jo/mail?"),
            ("mbox:~/mail:INBOX=/var/mail/jo", "keeps mail as mbox, and only Maildirs can be watched"),
            ("sdbox:~/sdbox", "keeps mail as sdbox, and only Maildirs can be watched"),
            ("imapc:", "keeps mail as imapc, and only Maildirs can be watched"),
            (
                "maildir:~/M:LAYOUT=index",
                "has mail in the layout `LAYOUT=index`, which does not tell where INBOX is",
            ),
            (
                "maildir:~/M:LAYOUT=fs:DIRNAME=mbx",
                "has mail in the layout `DIRNAME=mbx`, which does not tell where INBOX is",
            ),
            ("", "has no mail_location or mail_path, so Dovecot looks around for the mail"),
        ] {
            let fields = Fields { home: b"/home/jo", mail: mail.as_bytes(), ..Fields::default() };
            assert_eq!(shown(inbox(&user(), &fields, &settings(Version::Location))), expected, "{mail}");
        }
        let homeless = Fields { mail: b"maildir:~/M", ..Fields::default() };
        let found = shown(inbox(&user(), &homeless, &settings(Version::Location)));
        assert_eq!(found, "has mail in `~/M`, and no home");
    }

    #[test]
    fn drivers_and_paths_of_2_4() {
        for (driver, path, inbox_path, default, expected) in [
            ("", "/home/jo/M", "", "", "/home/jo/M"),
            ("maildir", "/srv/M", "", "", "/srv/M"),
            ("", "/home/jo/M", "~/I", "/x", "/home/jo/I"),
            ("", "/home/jo/M", "I", "", "/home/jo/M/I"),
            ("", "/home/jo/M", "", "%{home}/I/%{user | username | upper}", "/home/jo/I/JO"),
            ("", "/home/jo/M", "", "/in/%{user | lower}", "/in/jo@example.org"),
            ("", "M", "", "", "has mail in `M`, which is no absolute path"),
            ("mbox", "/home/jo/mail", "", "", "keeps mail as mbox, and only Maildirs can be watched"),
            ("", "", "", "", "has no mail_location or mail_path, so Dovecot looks around for the mail"),
            (
                "",
                "/home/jo/M",
                "",
                "/in/%{user | md5}",
                "has an INBOX in `/in/%{user | md5}`, with the unknown variable `%{user | md5}`",
            ),
        ] {
            let fields = Fields {
                home: b"/home/jo",
                mail: path.as_bytes(),
                driver: driver.as_bytes(),
                inbox_path: inbox_path.as_bytes(),
            };
            let settings = Settings { inbox_path: default.to_owned(), ..settings(Version::DriverAndPath) };
            assert_eq!(
                shown(inbox(&user(), &fields, &settings)),
                expected,
                "{driver} {path} {inbox_path} {default}"
            );
        }
        let mut settings = settings(Version::DriverAndPath);
        let fields = Fields { mail: b"/srv/M", ..Fields::default() };
        settings.driver = String::new();
        assert_eq!(shown(inbox(&user(), &fields, &settings)), "/srv/M?");
        settings.layout = "index".to_owned();
        assert!(matches!(inbox(&user(), &fields, &settings), Err(NoInbox::Layout(_))));
    }

    /// Links below a home are looked at, so the home has to be known.
    #[test]
    fn what_is_below_a_home_is_told_apart() {
        let of = |home: &str, mail: &str| {
            let fields = Fields { home: home.as_bytes(), mail: mail.as_bytes(), ..Fields::default() };
            inbox(&user(), &fields, &settings(Version::Location)).expect("a Maildir")
        };
        let below = of("/home/./jo/", "maildir:/home/jo/M");
        assert_eq!(below.home.as_deref(), Some(Path::new("/home/jo")));
        assert_eq!(below.path, Path::new("M"));
        assert_eq!(of("/home/jo", "maildir:/home/joe/M").home, None);
        assert_eq!(of("/home/jo", "maildir:~/../joe/M").home, None);
        assert_eq!(of("/", "maildir:~/M").home, None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(mail in prop::collection::vec(any::<u8>(), 0..60), home in prop::collection::vec(any::<u8>(), 0..20)) {
            for version in [Version::Location, Version::DriverAndPath] {
                let fields = Fields { home: &home, mail: &mail, driver: b"", inbox_path: &mail };
                if let Ok(found) = inbox(&user(), &fields, &settings(version)) {
                    prop_assert!(found.maildir().is_absolute());
                }
            }
        }
    }
}
