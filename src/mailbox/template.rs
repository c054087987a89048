//! Dovecot's `mail_location`, matched backwards: from the folders that exist to the names of their users. Pure.
//!
//! A template becomes one pattern for each path component. Backwards, a component is matched in every way it can be; what the
//! variables were bound to gives candidates for the name, and a candidate counts only if the template expands to just that path
//! for it. So prefixes (`%1n`), a variable used twice and changes of case all hold by construction.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    Username,
    username_format::{self, Case, Field, FormatError, Piece, Variable},
};

/// The pattern of one path component, never empty.
pub type Component = Vec<Piece>;

/// A `mail_location` for Maildirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// What comes before the first component with a variable: nothing that is found may lie outside.
    root: PathBuf,
    /// The components below the root.
    components: Vec<Component>,
}

/// Why a `mail_location` cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// Another mailbox format.
    #[error("`{0}` mailboxes cannot be watched, only Maildirs")]
    NotMaildir(String),
    /// No absolute path.
    #[error("the path `{0}` is not absolute")]
    NotAbsolute(String),
    /// A component `.` or `..`.
    #[error("the path contains `{0}`")]
    Dots(String),
    /// A variable that is unknown or not complete.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// There is no variable, so every user would have the same Maildir.
    #[error("no %u, %n or %d: all users would share one Maildir")]
    NoVariable,
    /// The variables do not hold enough to know the user.
    #[error("the whole of %u or %n is nowhere in the path, so the folders do not tell whose they are")]
    NoName,
}

impl TemplateError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotMaildir(_) => "write `maildir:` and the path, as in Dovecot's mail_location",
            Self::NotAbsolute(_) => {
                "write out where the home directories are, as in `maildir:/home/%n/Maildir`, or use the source `passwd`"
            }
            Self::Dots(_) => "write the path without it",
            Self::Format(FormatError::Unknown(variable))
                if variable.starts_with("%h") || variable.contains("home") =>
            {
                "write out where the home directories are, as in `maildir:/home/%n/Maildir`, or use the source `passwd`"
            }
            Self::Format(_) => "known are %u, %n and %d, with L, U, and a width such as %1n",
            Self::NoVariable => "use the key `users` for a single Maildir",
            Self::NoName => "list the users in a `map-file`, or put them under `users`",
        }
    }
}

impl Template {
    /// Reads a `mail_location`: `maildir:PATH[:KEY[=VALUE]…]`. `INBOX=` moves the inbox and so replaces the path; the
    /// other keys (`LAYOUT=`, `INDEX=`, `CONTROL=`, …) do not move it.
    ///
    /// # Errors
    /// If it is not for Maildirs, or if user names cannot be had from it.
    pub fn parse(location: &str) -> Result<Self, TemplateError> {
        let path_and_keys = match location.split_once(':') {
            Some(("maildir", rest)) => rest,
            Some((driver, _)) if !driver.starts_with(['/', '~', '%']) => {
                return Err(TemplateError::NotMaildir(driver.to_owned()));
            }
            _ => location,
        };
        let mut parts = path_and_keys.split(':');
        let root = parts.next().unwrap_or_default();
        let path = parts.find_map(|key| key.strip_prefix("INBOX=")).unwrap_or(root);
        // `%h/Maildir` is no absolute path either, but what to do about it is another thing.
        if !path.starts_with('/') {
            username_format::parse(path)?;
            return Err(TemplateError::NotAbsolute(path.to_owned()));
        }
        let mut template = Self { root: PathBuf::from("/"), components: Vec::new() };
        for text in path.split('/').filter(|text| !text.is_empty()) {
            if matches!(text, "." | "..") {
                return Err(TemplateError::Dots(text.to_owned()));
            }
            let component = username_format::parse(text)?;
            match component.as_slice() {
                [Piece::Literal(name)] if template.components.is_empty() => {
                    template.root.push(OsStr::from_bytes(name));
                }
                _ => template.components.push(component),
            }
        }
        if template.components.is_empty() {
            return Err(TemplateError::NoVariable);
        }
        if !template.has_whole(Field::User) && !template.has_whole(Field::Local) {
            return Err(TemplateError::NoName);
        }
        Ok(template)
    }

    /// The directory that everything found lies in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The patterns of the components below the root.
    #[must_use]
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// How many components below the root a path needs before the rest is the same for everybody. Folders up to there can
    /// belong to new users.
    #[must_use]
    pub fn depth_of_names(&self) -> usize {
        self.components
            .iter()
            .rposition(|component| component.iter().any(|piece| matches!(piece, Piece::Variable(_))))
            .map_or(0, |last| last + 1)
    }

    /// What of a user's name the folders do not tell, in words, for `check`; nothing when they tell all.
    #[must_use]
    pub fn loses(&self) -> Option<&'static str> {
        if self.is_ambiguous() {
            Some("two variables in one folder name can be taken apart in more than one way")
        } else if !self.has_whole(Field::User) && !self.has_whole(Field::Domain) {
            Some("the domain is not in the path, so users are known by the part before the @")
        } else if self.variables().any(|variable| variable.is_whole() && variable.case != Case::Keep) {
            Some("the path has changed the case of the name")
        } else {
            None
        }
    }

    /// Can one component be split between two whole variables in more than one way? After `%n` an `@` is safe, for
    /// it cannot be in the name before the first `@`.
    fn is_ambiguous(&self) -> bool {
        self.components.iter().any(|component| {
            let mut open: Option<Field> = None;
            component.iter().any(|piece| match piece {
                Piece::Literal(literal) => {
                    if open == Some(Field::Local) && literal.contains(&b'@') {
                        open = None;
                    }
                    false
                }
                Piece::Variable(variable) => open.replace(variable.field).is_some(),
            })
        })
    }

    /// The path of a user's Maildir. None if the name would lead out of the root (`..`, `/`), leaves a component empty, or
    /// makes a hidden folder, which no search finds.
    #[must_use]
    pub fn expand(&self, user: &Username) -> Option<PathBuf> {
        let mut path = self.root.clone();
        for component in &self.components {
            path.push(expand_component(component, user)?);
        }
        Some(path)
    }

    /// The user whose Maildir lies at these components below the root.
    ///
    /// # Errors
    /// `NoMatch` if it is nobody's, `Ambiguous` if the folders could be those of more than one user.
    pub fn user_of(&self, names: &[&OsStr]) -> Result<Username, MatchError> {
        if names.len() != self.components.len() {
            return Err(MatchError::NoMatch);
        }
        let mut bindings = vec![Binding::default()];
        for (component, name) in self.components.iter().zip(names) {
            let mut next = Vec::new();
            for binding in bindings {
                bind(component, name.as_bytes(), binding, &mut next);
            }
            bindings = next;
        }
        let mut users: Vec<Username> = bindings
            .iter()
            .filter_map(Binding::user)
            .filter(|user| {
                self.components
                    .iter()
                    .zip(names)
                    .all(|(component, name)| expand_component(component, user).as_deref() == Some(name))
            })
            .collect();
        users.sort_unstable();
        users.dedup();
        match <[Username; 1]>::try_from(users) {
            Ok([user]) => Ok(user),
            Err(users) if users.is_empty() => Err(MatchError::NoMatch),
            Err(users) => Err(MatchError::Ambiguous(users)),
        }
    }

    fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.components.iter().flatten().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(variable),
            Piece::Literal(_) => None,
        })
    }

    fn has_whole(&self, field: Field) -> bool {
        self.variables().any(|variable| variable.field == field && variable.is_whole())
    }
}

/// Why folders are no user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchError {
    /// They do not match the template.
    NoMatch,
    /// They match for each of these users.
    Ambiguous(Vec<Username>),
}

fn expand_component(component: &Component, user: &Username) -> Option<OsString> {
    let mut name = Vec::new();
    for piece in component {
        match piece {
            Piece::Literal(literal) => name.extend_from_slice(literal),
            Piece::Variable(variable) => name.extend_from_slice(&variable.value(user)),
        }
    }
    let starts_with_variable = matches!(component.first(), Some(Piece::Variable(_)));
    let hidden = starts_with_variable && name.starts_with(b".");
    let leads_away = name.contains(&b'/') || matches!(name.as_slice(), b"" | b"." | b"..");
    (!hidden && !leads_away).then(|| OsString::from_vec(name))
}

/// What whole variables were bound to.
#[derive(Clone, Debug, Default)]
struct Binding {
    user: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    domain: Option<Vec<u8>>,
}

impl Binding {
    fn slot(&mut self, field: Field) -> &mut Option<Vec<u8>> {
        match field {
            Field::User => &mut self.user,
            Field::Local => &mut self.local,
            Field::Domain => &mut self.domain,
        }
    }

    fn user(&self) -> Option<Username> {
        let name = match (&self.user, &self.local, &self.domain) {
            (Some(user), _, _) => user.clone(),
            (None, Some(local), Some(domain)) => [local, b"@".as_slice(), domain].concat(),
            (None, Some(local), None) => local.clone(),
            (None, None, _) => return None,
        };
        Username::new(std::str::from_utf8(&name).ok()?).ok()
    }
}

/// All ways to match a name with a component. What a variable with a width or an offset took is not kept: the
/// expansion of the candidate shows whether it was right.
fn bind(pieces: &[Piece], name: &[u8], binding: Binding, found: &mut Vec<Binding>) {
    match pieces {
        [] => {
            if name.is_empty() {
                found.push(binding);
            }
        }
        [Piece::Literal(literal), rest @ ..] => {
            if let Some(name) = name.strip_prefix(literal.as_slice()) {
                bind(rest, name, binding, found);
            }
        }
        // At the end of the name there is nothing to choose.
        [Piece::Variable(variable)] => {
            found.extend(bound(variable, name, binding));
        }
        [Piece::Variable(variable), rest @ ..] => {
            let most = variable.width.map_or(name.len(), |width| width.min(name.len()));
            for end in 0..=most {
                if let Some(binding) = bound(variable, &name[..end], binding.clone()) {
                    bind(rest, &name[end..], binding, found);
                }
            }
        }
    }
}

/// The binding with one variable more, unless the variable was bound to something else before.
fn bound(variable: &Variable, value: &[u8], mut binding: Binding) -> Option<Binding> {
    if variable.is_whole() {
        let slot = binding.slot(variable.field);
        match slot {
            // Another case of the same variable may differ; the expansion decides.
            Some(old) if variable.case == Case::Keep && old != value && !old.eq_ignore_ascii_case(value) => {
                return None;
            }
            Some(old) if variable.case == Case::Keep => *old = value.to_vec(),
            Some(_) => {}
            None => *slot = Some(value.to_vec()),
        }
    }
    Some(binding)
}
