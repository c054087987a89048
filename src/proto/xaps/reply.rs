//! What the plugins are answered.
//!
//! ```text
//! HTTP        200, and for a registration the topic with NULs behind it as the body
//! Unix socket "OK " [ topic ] LF  /  "ERROR " message LF
//! ```
//!
//! That a [`Topic`] is never empty, and has no white space, quote or backslash, matters here: the plugins put it between double quotes
//! into the answer of the IMAP server as it is, and the one by st3fan would end the IMAP process if there were none.

use crate::registry::Topic;

/// The plugin by freswa ends the IMAP process if the body has 50 bytes or less, and reads it as a C string.
const LEAST_BODY: usize = 64;

/// The answer on the Unix socket to a notification, which needs no topic.
pub const DONE_LINE: &str = "OK \n";

/// The body of the answer to `POST /register`: at least 64 bytes, the last always NUL.
#[must_use]
pub fn body(topic: &Topic) -> Vec<u8> {
    let mut body = topic.as_str().as_bytes().to_vec();
    body.resize(LEAST_BODY.max(body.len() + 1), 0);
    body
}

/// The answer on the Unix socket to a registration.
#[must_use]
pub fn ok_line(topic: &Topic) -> String {
    format!("OK {}\n", topic.as_str())
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

    fn topic(text: &str) -> Topic {
        text.parse().expect("a topic")
    }

    #[test]
    fn bodies_are_long_enough_and_end() {
        for length in [1, 37, 59, 63, 64, 255] {
            let body = body(&topic(&"t".repeat(length)));
            assert!(body.len() >= LEAST_BODY);
            assert_eq!(body.iter().position(|&byte| byte == 0), Some(length), "a C string of that length");
            assert!(body[length..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn answers_are_one_line() {
        assert_eq!(ok_line(&topic("com.apple.mail.XServer.x")), "OK com.apple.mail.XServer.x\n");
        assert_eq!(error_line("no\r\nOK \0"), "ERROR no  OK  \n");
    }

    /// What would break an answer cannot be a topic.
    #[test]
    fn topics_break_no_answer() {
        for text in ["", "a\0b", "a\nb", "a\rb", "a\tb", "a b", "a\"b", "a\\b", "a\u{7f}b", "aéb"] {
            assert!(text.parse::<Topic>().is_err(), "{text:?}");
        }
        // The plugin by st3fan reads 1023 bytes of an answer.
        assert!("t".repeat(1000).parse::<Topic>().is_err());
    }
}
