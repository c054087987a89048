//! Dovecot's variables in a user name or a path: `%u`, `%n`, `%d`, with the modifiers that people use.
//!
//! ```text
//! variable = "%" [ [offset "."] width ] *modifier name / "%{" long-name "}" / "%%"
//! modifier = "L" (lower case) / "U" (upper case)
//! name     = "u" (whole name) / "n" (before the first "@") / "d" (after it)
//! ```
//!
//! Dovecot counts offset and width in bytes, and so do we.

use std::{borrow::Cow, fmt};

use serde::Deserialize;
use thiserror::Error;

use super::Username;

/// Which part of a user name a variable stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `%u`, all of it.
    User,
    /// `%n`, what comes before the first `@`.
    Local,
    /// `%d`, what comes after it.
    Domain,
}

/// What a variable does to the case of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// Nothing.
    Keep,
    /// `L`.
    Lower,
    /// `U`.
    Upper,
}

/// A variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variable {
    /// The part of the name.
    pub field: Field,
    /// The change of case.
    pub case: Case,
    /// Bytes to leave out at the start.
    pub offset: usize,
    /// The most bytes to take after that; nothing for all.
    pub width: Option<usize>,
}

impl Variable {
    /// Does the variable keep every byte of its field?
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.offset == 0 && self.width.is_none()
    }

    /// The variable's value for a user, as bytes, for a width may end inside a character.
    #[must_use]
    pub fn value<'a>(&self, user: &'a Username) -> Cow<'a, [u8]> {
        let field = match self.field {
            Field::User => user.as_str(),
            Field::Local => user.local(),
            Field::Domain => user.domain(),
        };
        let cased = match self.case {
            Case::Keep => Cow::Borrowed(field),
            Case::Lower => Cow::Owned(field.to_lowercase()),
            Case::Upper => Cow::Owned(field.to_uppercase()),
        };
        let end = self.width.map_or(cased.len(), |width| cased.len().min(self.offset.saturating_add(width)));
        let range = self.offset.min(end)..end;
        match cased {
            Cow::Borrowed(text) => Cow::Borrowed(&text.as_bytes()[range]),
            Cow::Owned(text) => Cow::Owned(text.as_bytes()[range].to_vec()),
        }
    }
}

/// A piece of a text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that stand for themselves.
    Literal(Vec<u8>),
    /// A variable.
    Variable(Variable),
}

/// What is wrong with a text that has variables.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FormatError {
    /// A variable that pushmaild does not know, as it was written.
    #[error("unknown variable `{0}`")]
    Unknown(String),
    /// The text ends inside a variable.
    #[error("the variable `{0}` at the end is not complete")]
    Unfinished(String),
}

/// Splits a text into literals and variables.
///
/// # Errors
/// If a variable is unknown or not complete.
pub fn parse(text: &str) -> Result<Vec<Piece>, FormatError> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        literal.extend_from_slice(&rest.as_bytes()[..at]);
        let from = &rest[at..];
        let (variable, length) = variable(from)?;
        match variable {
            None => literal.push(b'%'),
            Some(variable) => {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Variable(variable));
            }
        }
        rest = &from[length..];
    }
    literal.extend_from_slice(rest.as_bytes());
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// Reads the variable at the start of a text, and tells its length. `%%` is none.
fn variable(text: &str) -> Result<(Option<Variable>, usize), FormatError> {
    let unfinished = || FormatError::Unfinished(text.to_owned());
    if text.starts_with("%{") {
        let end = text.find('}').ok_or_else(unfinished)?;
        let name = &text[2..end];
        let mut parts = name.split('|').map(str::trim);
        let mut variable = Variable { field: Field::User, case: Case::Keep, offset: 0, width: None };
        match parts.next() {
            Some("user") => {}
            Some("username") => variable.field = Field::Local,
            Some("domain") => variable.field = Field::Domain,
            _ => return Err(FormatError::Unknown(text[..=end].to_owned())),
        }
        for filter in parts {
            match filter {
                "lower" => variable.case = Case::Lower,
                "upper" => variable.case = Case::Upper,
                "username" if variable.field == Field::User => variable.field = Field::Local,
                "domain" if variable.field == Field::User => variable.field = Field::Domain,
                _ => return Err(FormatError::Unknown(text[..=end].to_owned())),
            }
        }
        return Ok((Some(variable), end + 1));
    }
    let mut variable = Variable { field: Field::User, case: Case::Keep, offset: 0, width: None };
    let mut number: Option<usize> = None;
    for (at, letter) in text.char_indices().skip(1) {
        let name = |field| (Some(field), at + 1);
        let (field, length) = match letter {
            '%' if at == 1 => return Ok((None, 2)),
            '0'..='9' => {
                let digit = usize::from(letter as u8 - b'0');
                number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
                continue;
            }
            '.' => {
                variable.offset = number.take().unwrap_or(0);
                continue;
            }
            'L' => {
                variable.case = Case::Lower;
                continue;
            }
            'U' => {
                variable.case = Case::Upper;
                continue;
            }
            'u' => name(Field::User),
            'n' => name(Field::Local),
            'd' => name(Field::Domain),
            _ => return Err(FormatError::Unknown(text[..at + letter.len_utf8()].to_owned())),
        };
        variable.field = field.unwrap_or(Field::User);
        // In Dovecot a width of 0 is no width.
        variable.width = number.filter(|&width| width > 0);
        return Ok((Some(variable), length));
    }
    Err(unfinished())
}

/// How a name is normalised before it is looked up or sent: Dovecot's `auth_username_format`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UsernameFormat(Vec<Piece>);

impl Default for UsernameFormat {
    /// Dovecot's own default, `%Lu`.
    fn default() -> Self {
        Self(vec![Piece::Variable(Variable {
            field: Field::User,
            case: Case::Lower,
            offset: 0,
            width: None,
        })])
    }
}

impl TryFrom<String> for UsernameFormat {
    type Error = FormatError;

    fn try_from(text: String) -> Result<Self, FormatError> {
        parse(&text).map(Self)
    }
}

impl UsernameFormat {
    /// The normalised name.
    ///
    /// # Errors
    /// If nothing is left, or a width cut a character in two: `Err` has what came out.
    pub fn apply(&self, user: &Username) -> Result<Username, UnusableName> {
        let mut bytes = Vec::with_capacity(user.as_str().len());
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => bytes.extend_from_slice(literal),
                Piece::Variable(variable) => bytes.extend_from_slice(&variable.value(user)),
            }
        }
        std::str::from_utf8(&bytes)
            .ok()
            .and_then(|name| Username::new(name).ok())
            .ok_or_else(|| UnusableName(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Does the format make all letters of every variable lower case?
    #[must_use]
    pub fn lowers(&self) -> bool {
        self.0.iter().all(|piece| !matches!(piece, Piece::Variable(variable) if variable.case != Case::Lower))
    }
}

/// What `username-format` made of a name is no name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("username-format makes `{0}` of it, which is no user name")]
pub struct UnusableName(String);

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("%")?;
        match (self.offset, self.width) {
            (0, None) => {}
            (0, Some(width)) => write!(f, "{width}")?,
            (offset, width) => write!(f, "{offset}.{}", width.unwrap_or(0))?,
        }
        f.write_str(match self.case {
            Case::Keep => "",
            Case::Lower => "L",
            Case::Upper => "U",
        })?;
        f.write_str(match self.field {
            Field::User => "u",
            Field::Local => "n",
            Field::Domain => "d",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str, user: &str) -> Result<String, String> {
        let format = UsernameFormat::try_from(text.to_owned()).map_err(|error| error.to_string())?;
        let user = Username::new(user).map_err(|error| error.to_string())?;
        format.apply(&user).map(|user| user.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_as_dovecot_expands_them() {
        for (text, user, expected) in [
            ("%u", "Jo@Example.org", "Jo@Example.org"),
            ("%Lu", "Jo@Example.org", "jo@example.org"),
            ("%Un", "jo@example.org", "JO"),
            ("%n", "jo@example.org", "jo"),
            ("%n@%Ld", "Jo@Example.ORG", "Jo@example.org"),
            ("%1n", "jo@example.org", "j"),
            ("%1Ln", "Jo", "j"),
            ("%L1n", "Jo", "j"),
            ("%1.1n", "jo", "o"),
            ("%0.2n", "jolanda", "jo"),
            ("%9n", "jo", "jo"),
            ("%{user}", "jo@x", "jo@x"),
            ("%{user | username | lower}", "Jo@x", "jo"),
            ("%{username}.%{domain}", "jo@x", "jo.x"),
            ("100%%-%n", "jo", "100%-jo"),
            ("%n", "a@b@c", "a"),
            ("%d", "a@b@c", "b@c"),
        ] {
            assert_eq!(format(text, user).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("%h", "unknown variable `%h`"),
            ("a%", "the variable `%` at the end is not complete"),
            ("%{user", "the variable `%{user` at the end is not complete"),
            ("%{home}", "unknown variable `%{home}`"),
            ("%16Hu", "unknown variable `%16H`"),
            ("%é", "unknown variable `%é`"),
            ("%d", "username-format makes `` of it, which is no user name"),
        ] {
            assert_eq!(format(text, "jo"), Err(expected.to_owned()), "{text}");
        }
    }
}
