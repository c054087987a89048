//! What the plugins are answered.
//!
//! ```text
//! HTTP        200, and for a registration the topic with NULs behind it as the body
//! Unix socket "OK " [ topic ] LF  /  "ERROR " message LF
//! ```

use thiserror::Error;

/// The plugin by freswa ends the IMAP process if the body has 50 bytes or less, and reads it as a C string.
const LEAST_BODY: usize = 64;

/// The plugin by st3fan reads 1023 bytes of an answer.
const MAX_TOPIC: usize = 255;

/// The answer on the Unix socket to a notification, which needs no topic.
pub const LINE_DONE: &str = "OK \n";

/// The APNs topic that a phone is to listen to: from 1 to 255 printable characters of US-ASCII without white space, `"` and `\`.
///
/// The plugins put it between double quotes into the answer of the IMAP server as it is. Never empty, because the plugin by st3fan
/// takes the part before the line end for granted, and would end the IMAP process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic(Box<str>);

/// Why something cannot be a topic.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TopicError {
    /// The topic is empty.
    #[error("the topic is empty")]
    Empty,
    /// The topic is too long for an answer.
    #[error("the topic has {0} bytes, and the most are {MAX_TOPIC}")]
    TooLong(usize),
    /// A character that would break an answer.
    #[error("the topic contains the character {0:?}")]
    Character(char),
}

impl Topic {
    /// Checks a topic.
    ///
    /// # Errors
    /// If it would break an answer.
    pub fn new(topic: &str) -> Result<Self, TopicError> {
        if topic.is_empty() {
            return Err(TopicError::Empty);
        }
        if topic.len() > MAX_TOPIC {
            return Err(TopicError::TooLong(topic.len()));
        }
        let breaks = |character: &char| !character.is_ascii_graphic() || matches!(character, '"' | '\\');
        match topic.chars().find(breaks) {
            Some(character) => Err(TopicError::Character(character)),
            None => Ok(Self(topic.into())),
        }
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The body of the answer to `POST /register`: at least 64 bytes, the last always NUL.
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        let mut body = self.0.as_bytes().to_vec();
        body.resize(LEAST_BODY.max(body.len() + 1), 0);
        body
    }

    /// The answer on the Unix socket to a registration.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("OK {}\n", self.0)
    }
}

/// The answer on the Unix socket to what cannot be done. Control characters in the message become spaces, so that it stays one line.
#[must_use]
pub fn error_line(message: &str) -> String {
    let message: String =
        message.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    format!("ERROR {message}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_long_enough_and_end() {
        for length in [1, 37, 59, 63, 64, 255] {
            let topic = "t".repeat(length);
            let body = Topic::new(&topic).expect("a topic").to_body();
            assert!(body.len() >= 64);
            assert_eq!(body.iter().position(|&byte| byte == 0), Some(length), "a C string of that length");
            assert!(body[length..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn answers_are_one_line() {
        assert_eq!(
            Topic::new("com.apple.mail.XServer.x").expect("a topic").to_line(),
            "OK com.apple.mail.XServer.x\n"
        );
        assert_eq!(error_line("no\r\nOK \0"), "ERROR no  OK  \n");
    }

    #[test]
    fn what_would_break_an_answer_is_no_topic() {
        assert_eq!(Topic::new(""), Err(TopicError::Empty));
        assert_eq!(Topic::new(&"t".repeat(256)), Err(TopicError::TooLong(256)));
        for character in ['\0', '\n', '\r', '\t', ' ', '"', '\\', '\u{7f}', 'é'] {
            assert_eq!(Topic::new(&format!("a{character}b")), Err(TopicError::Character(character)));
        }
    }
}
