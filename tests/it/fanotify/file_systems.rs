//! Each kind of file system has handles of its own length, and an end of its own.

use super::{JESSE, after_mounting, beside, deliver, fanotify_is_refused, make_maildir};
use crate::support::{Daemon, Receiver, Site, eventually};

/// Makes a file system in a file and mounts it where the mail is.
fn mount_image(site: &Site, kind: &str, size: &str) -> String {
    let (image, mail) = (site.path("image"), site.path("vmail"));
    let (image, mail) = (image.display(), mail.display());
    format!(
        "truncate -s {size} '{image}'; PATH=$PATH:/usr/sbin:/sbin; mkfs.{kind} -q '{image}' >&2; mkdir -p '{mail}'; \
         mount -o loop '{image}' '{mail}'"
    )
}

fn start(site: &Site, script: &str) -> (Receiver, Daemon) {
    let receiver = site.receiver();
    let config = site.config().set("watch.backend", "fanotify").set("watch.sweep-interval", "1h");
    let script = format!("{script}\n{}", make_maildir(site, JESSE));
    let daemon = site.launch(&config).wrapped_in(after_mounting(&script)).start();
    daemon.wait_log("watches of fanotify");
    (receiver, daemon)
}

/// What a mailbox lives through, told by events: the sweep is an hour away.
fn is_watched(script: impl FnOnce(&Site) -> String, refusal: Option<&str>) {
    let site = Site::new();
    let (receiver, daemon) = start(&site, &script(&site));
    match refusal {
        None => daemon.wait_log("is watched as a whole, by fanotify"),
        Some(refusal) => daemon.wait_log(refusal),
    };
    let maildir = site.maildir_path(JESSE);
    let maildir = maildir.display();
    for step in [
        deliver(&site, JESSE, "1.M1P1.host"),
        format!("cd '{maildir}' && mv new/1.M1P1.host cur/1.M1P1.host:2,S"),
        format!("cd '{maildir}' && mv cur/1.M1P1.host:2,S cur/1.M1P1.host:2,"),
        format!("cd '{maildir}' && rm cur/1.M1P1.host:2,"),
        // Replaced by another one, which is found by the event of the old one's end.
        format!(
            "cd '{maildir}' && mkdir other && mv -T other new && {}",
            deliver(&site, JESSE, "2.M1P1.host")
        ),
        format!("cd '{maildir}' && mv new/2.M1P1.host new/3.M1P1.host"),
        format!("cd '{maildir}' && rm -r new && mkdir new && {}", deliver(&site, JESSE, "4.M1P1.host")),
    ] {
        beside(&daemon, &step);
        receiver.expect(JESSE);
        receiver.drain();
    }
    // A user whose mailbox is made while others are watched.
    let late = "late@example.org";
    beside(&daemon, &format!("{}; {}", make_maildir(&site, late), deliver(&site, late, "1.M1P1.host")));
    receiver.read_until(late);
    daemon.stop();
}

#[test]
fn ext4() {
    if !fanotify_is_refused() {
        is_watched(|site| mount_image(site, "ext4", "16M"), None);
    }
}

#[test]
fn tmpfs() {
    if !fanotify_is_refused() {
        let mount = |site: &Site| {
            let mail = site.path("vmail");
            format!("mkdir -p '{0}'; mount -t tmpfs none '{0}'", mail.display())
        };
        is_watched(mount, None);
    }
}

#[test]
fn xfs() {
    if !fanotify_is_refused() {
        is_watched(|site| mount_image(site, "xfs", "320M"), None);
    }
}

#[test]
fn btrfs() {
    if !fanotify_is_refused() {
        is_watched(|site| mount_image(site, "btrfs", "128M"), None);
    }
}

#[test]
fn a_subvolume_of_btrfs_is_watched_by_inotify() {
    if !fanotify_is_refused() {
        let subvolume = |site: &Site| {
            let mail = site.path("vmail");
            let mount = mount_image(site, "btrfs", "128M");
            format!("{mount}; btrfs subvolume create '{}/example.org' >&2", mail.display())
        };
        is_watched(subvolume, Some("is watched by inotify: it is a subvolume of btrfs"));
    }
}

#[test]
fn overlayfs_is_watched_by_inotify() {
    if !fanotify_is_refused() {
        let overlay = |site: &Site| {
            let (layers, mail) = (site.path("layers"), site.path("vmail"));
            format!(
                "mkdir -p '{0}' '{1}'; mount -t tmpfs none '{0}'; cd '{0}'; mkdir lower upper work; \
                 mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none '{1}'; cd /",
                layers.display(),
                mail.display()
            )
        };
        is_watched(overlay, Some("is watched by inotify: the file system has no lasting file handles"));
    }
}

/// The mark goes with the mount, without a word of fanotify's; what is mounted then is marked anew.
#[test]
fn a_file_system_that_is_unmounted_and_comes_back() {
    if fanotify_is_refused() {
        return;
    }
    let site = Site::new();
    let receiver = site.receiver();
    let config = site.config().set("watch.backend", "fanotify").set("watch.sweep-interval", "1s");
    let script = format!("{}\n{}", mount_image(&site, "ext4", "16M"), make_maildir(&site, JESSE));
    let daemon = site.launch(&config).wrapped_in(after_mounting(&script)).start();
    beside(&daemon, &deliver(&site, JESSE, "1.M1P1.host"));
    receiver.expect(JESSE);

    let (image, mail) = (site.path("image"), site.path("vmail"));
    let mark = daemon.log_mark();
    beside(&daemon, &format!("umount '{}'", mail.display()));
    daemon.wait_log_since(mark, "mailboxes that are not there yet");
    let mark = daemon.log_mark();
    beside(&daemon, &format!("mount -o loop '{}' '{}'", image.display(), mail.display()));
    daemon.wait_log_since(mark, "is watched as a whole, by fanotify");
    // The message that was there is no news: everybody was told of it. (Unless it was so young when it was looked at that another one
    // could hide behind it.)
    receiver.drain();
    let mut number = 1;
    eventually("a push for a delivery after the mount", || {
        number += 1;
        beside(&daemon, &deliver(&site, JESSE, &format!("{number}.M1P1.host")));
        receiver.next(std::time::Duration::from_secs(1))
    });
}

/// While the daemon stands still the kernel keeps everything, for the queue has no end.
#[test]
fn a_stopped_process_loses_nothing() {
    if fanotify_is_refused() {
        return;
    }
    let site = Site::new();
    let users: Vec<_> = (0..100).map(|number| format!("user{number}@example.org")).collect();
    let maildirs: Vec<_> = users.iter().map(|user| site.maildir(user)).collect();
    let receiver = site.receiver();
    let daemon =
        site.start(&site.config().set("watch.backend", "fanotify").set("watch.sweep-interval", "1h"));
    daemon.pause();
    for maildir in &maildirs {
        for _ in 0..200 {
            maildir.deliver_into_cur("S");
        }
    }
    daemon.resume();
    receiver.expect_each(users.iter().map(String::as_str));
    let log = daemon.stop();
    assert!(!log.contains("events were dropped"), "{log}");
}
