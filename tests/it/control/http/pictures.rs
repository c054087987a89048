//! Pictures of the page, as the documents show it. `PUSHMAILD_PICTURES=docs/images` keeps them, and
//! `PUSHMAILD_PICTURES_SECONDS=200` lets the mail server live for so long before they are taken.

use std::env;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{address, config_with_apple, register};
use crate::support::{Apns, Browser, Maildir, Site, from_environment};

const USERS: [&str; 8] = ["anna", "jesse", "jo", "kim", "lee", "marta", "noor", "sam"];

/// A family's day in fast motion: mail comes, is read on a laptop, is flagged and deleted.
struct Life {
    mailboxes: Vec<(Maildir, Vec<String>)>,
    random: fastrand::Rng,
}

impl Life {
    fn step(&mut self) {
        let place = self.random.usize(..self.mailboxes.len());
        let (maildir, messages) = &mut self.mailboxes[place];
        if messages.is_empty() || self.random.u8(..3) < 2 {
            messages.push(maildir.deliver());
            return;
        }
        let message = messages.swap_remove(self.random.usize(..messages.len()));
        if self.random.bool() {
            maildir.set_flags(&message, "S");
            messages.push(message);
        } else {
            maildir.expunge(&message);
        }
    }
}

#[test]
fn they_can_be_taken() {
    let kept = env::var_os("PUSHMAILD_PICTURES").map(PathBuf::from);
    let life: u64 = from_environment("PUSHMAILD_PICTURES_SECONDS").unwrap_or(2);
    let site = Site::new();
    let apns = Apns::start(site.path("apns"));
    let mailboxes = USERS.map(|user| (site.maildir(&format!("{user}@example.org")), Vec::new()));
    let receiver = site.receiver();
    // The times that a daemon has without a word in its configuration, but for a short life.
    let mut config = config_with_apple(&site, &apns);
    for key in ["new-mail-interval", "change-quiet", "change-max-wait"] {
        config = if life > 60 { config.unset(&format!("debounce.{key}")) } else { config };
    }
    let daemon = site.start(&config);
    for (number, user) in USERS.iter().enumerate().take(6) {
        register(&site, &format!("{user}@example.org"), number + 1);
    }
    let mut life_of_all = Life { mailboxes: mailboxes.into(), random: fastrand::Rng::with_seed(7) };
    let end = Instant::now() + Duration::from_secs(life);
    while Instant::now() < end {
        life_of_all.step();
        // The receiver reads while nobody does anything.
        let pause = Duration::from_millis(life_of_all.random.u64(100..life * 30 + 200));
        let until = Instant::now() + pause;
        while receiver.next_bytes(until.saturating_duration_since(Instant::now())).is_some() {}
    }
    let mut browser = Browser::start();
    browser.open(&format!("http://{}/", address(&daemon)));
    let folder = kept.unwrap_or_else(|| site.dir().to_owned());
    for (name, is_dark, (width, height)) in [
        ("page-light.png", false, (1280, 800)),
        ("page-dark.png", true, (1280, 800)),
        ("page-phone.png", false, (375, 800)),
    ] {
        browser.set_size(width, height);
        browser.set_dark(is_dark);
        browser.wait_for(
            "document.querySelectorAll('.fresh').length === 0 || document.getAnimations().length === 0",
        );
        let path = folder.join(name);
        browser.screenshot(&path);
        let png = std::fs::read(&path).expect("it was written");
        let size = [16, 20].map(|at| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes")));
        assert_eq!(size, [width, height], "{name}");
        assert!(png.len() < 150_000, "{name} has {} bytes", png.len());
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
    daemon.stop();
}
