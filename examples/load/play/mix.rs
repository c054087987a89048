//! What a mail server does how often.

use std::{fmt, str::FromStr};

/// Something that happens to a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// A message comes, by a rename from `tmp/` to `new/`.
    Deliver,
    /// The same by a link.
    Link,
    /// `new/` is emptied into `cur/`, which is nothing to tell.
    Open,
    /// A message gets the flag `S`.
    Read,
    /// A message gets the flag `F` or loses it.
    Flag,
    /// A message goes.
    Expunge,
    /// A message goes to somebody else's `cur/`: a change for both.
    Move,
}

impl Action {
    pub(crate) const ALL: [Self; 7] =
        [Self::Deliver, Self::Link, Self::Open, Self::Read, Self::Flag, Self::Expunge, Self::Move];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Link => "link",
            Self::Open => "open",
            Self::Read => "read",
            Self::Flag => "flag",
            Self::Expunge => "expunge",
            Self::Move => "move",
        }
    }
}

/// A weight for each action; only their ratios matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mix {
    weights: [u32; Action::ALL.len()],
}

impl Default for Mix {
    /// Most mail is opened, read and deleted in time, some of it is flagged or filed, and few deliver by link.
    fn default() -> Self {
        Self { weights: [36, 4, 20, 20, 5, 12, 3] }
    }
}

impl Mix {
    pub(crate) fn draw(&self, random: &mut fastrand::Rng) -> Action {
        let mut left = random.u32(..self.weights.iter().sum::<u32>());
        for (action, weight) in Action::ALL.into_iter().zip(self.weights) {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return action,
            }
        }
        Action::Deliver
    }
}

/// `deliver=40,read=20`; what is not named does not happen.
impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = [0; Action::ALL.len()];
        for part in text.split(',') {
            let wrong = || format!("`{part}` is no ACTION=WEIGHT");
            let (name, weight) = part.split_once('=').ok_or_else(wrong)?;
            let place = Action::ALL.iter().position(|action| action.as_str() == name).ok_or_else(wrong)?;
            weights[place] = weight.parse::<u16>().map_err(|_| wrong())?.into();
        }
        if weights.iter().all(|&weight| weight == 0) {
            return Err("nothing would happen".to_owned());
        }
        Ok(Self { weights })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = Action::ALL.iter().zip(self.weights).filter(|(_, weight)| *weight > 0);
        let parts: Vec<_> = parts.map(|(action, weight)| format!("{}={weight}", action.as_str())).collect();
        f.write_str(&parts.join(","))
    }
}
