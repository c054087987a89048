//! Does it hold a million mailboxes? `cargo bench --bench scale`
//!
//! The start, the look at everything, memory and deliveries, in ratios to what was measured beside them in the same run: the smallest C
//! programs (`benches/*.c`) and the notify crate. What is measured, and how, is told in `docs/benchmarks.md`; the tables there are
//! what this program prints on stdout.
//!
//! The exit status is 1 when somebody was left untold or something did not work. A goal that was missed is printed and no more, for a busy
//! machine misses them too.

mod c;
mod daemon_log;
mod delivery;
mod image;
mod mailboxes;
mod options;
mod rescan;
mod site;
mod stalled;
mod start;
mod system;

#[path = "../delivery/burst.rs"]
mod burst;
#[path = "../common/console.rs"]
mod console;
#[path = "../delivery/cpu.rs"]
mod cpu;
#[path = "../common/daemon.rs"]
mod daemon;
#[path = "../common/goals.rs"]
mod goals;
#[path = "../delivery/maildirs.rs"]
mod maildirs;
#[expect(unused_imports, reason = "its receiver is used, and its player is not")]
#[path = "../../examples/load/play/mod.rs"]
mod play;
#[path = "../delivery/quiet.rs"]
mod quiet;
#[expect(dead_code, reason = "not all rivals are measured here")]
#[path = "../delivery/rival.rs"]
mod rival;
#[expect(dead_code, reason = "medians only")]
#[path = "../common/sample.rs"]
mod sample;
#[path = "../common/table.rs"]
mod table;
#[expect(dead_code, reason = "memory only, and the time on the CPU of threads that have ended counts here")]
#[path = "../common/usage.rs"]
mod usage;

use std::{error::Error, process::ExitCode};

use clap::Parser;

use crate::{
    c::Directories,
    console::{pause, print, progress},
    goals::Goals,
    image::Image,
    mailboxes::Store,
    options::{Only, Options},
    site::{Site, Sites},
    system::Backend,
};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// How much is measured.
struct Plan {
    /// Numbers of mailboxes. With inotify as many as the limit of watches allows.
    inotify: &'static [usize],
    fanotify: &'static [usize],
    /// Starts of each.
    runs: usize,
    /// Single deliveries to each rival: this many times [`quiet::TURN`].
    turns: usize,
    /// Deliveries of the burst to each rival.
    burst: usize,
}

const FULL: Plan = Plan {
    inotify: &[10_000, 100_000],
    fanotify: &[10_000, 100_000, 1_000_000],
    runs: 3,
    turns: 80,
    burst: 200_000,
};

const QUICK: Plan = Plan { inotify: &[2_000], fanotify: &[2_000], runs: 1, turns: 4, burst: 10_000 };

/// More mailboxes than this lie in an image of a file system.
const ON_DISK: usize = 200_000;

/// What all measurements have in common.
struct Bench {
    plan: Plan,
    fanotify: bool,
    directories: Directories,
    disk: Store,
    /// For more than there is room for on the disk. None if so many are not wanted, or cannot be had.
    image: Option<Store>,
    sites: Sites,
    /// Users whom pushmaild left untold.
    untold: usize,
}

/// What is needed to measure so many mailboxes.
struct Parts<'a> {
    directories: &'a Directories,
    store: &'a mut Store,
    sites: &'a mut Sites,
    file_system: &'static str,
}

/// One thing to measure.
type Measure = fn(&mut Bench, &mut Goals) -> Result<()>;

/// The pinned one last.
const ALL: [(Only, Measure); 6] = [
    (Only::Start, start::run),
    (Only::Rescan, rescan::run),
    (Only::Cold, start::cold),
    (Only::Stalled, stalled::run),
    (Only::Burst, delivery::bursts),
    (Only::Delivery, delivery::lone),
];

fn main() -> ExitCode {
    let options = Options::parse();
    console::exit(image::enter_namespace().and_then(|()| run(&options)))
}

/// Measures and prints the tables. Returns the number of users whom pushmaild left untold.
fn run(options: &Options) -> Result<usize> {
    let plan = if options.quick { QUICK } else { FULL };
    // Removed at the end, unless it is to be kept.
    let own_folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let folder = options.keep.as_deref().unwrap_or(own_folder.path());
    let disk = Store::at(folder.join("mail"))?;
    let is_large = |size: &usize| *size > ON_DISK;
    let is_wanted = plan.fanotify.iter().any(is_large)
        && [Only::Start, Only::Rescan].map(|it| options.wants(it)).contains(&true);
    let mounted = if is_wanted { Image::mount(folder, options.keep.is_some())? } else { None };
    let image = mounted.as_ref().map(|image| Store::at(image.path().join("mail"))).transpose()?;
    let site = Site::new()?;
    let directories = Directories::compile(site.folder())?;
    let mut bench = Bench { plan, fanotify: false, directories, disk, image, sites: Sites::new(), untold: 0 };
    match Backend::Fanotify.refusal(&mut bench.disk)? {
        None => bench.fanotify = true,
        Some(refusal) => progress(&format!("not with fanotify: {refusal}")),
    }
    let mut goals = Goals::default();
    for (only, measure) in ALL {
        if options.wants(only) {
            measure(&mut bench, &mut goals).map_err(|error| format!("{only:?}: {error}"))?;
        }
    }
    if !bench.fanotify {
        print("There is no fanotify here, so it was not measured.\n");
    }
    print(&goals.to_string());
    Ok(bench.untold)
}

impl Bench {
    fn backends(&self) -> Vec<Backend> {
        [Backend::Inotify].into_iter().chain(self.fanotify.then_some(Backend::Fanotify)).collect()
    }

    /// What is measured with which backend.
    fn sizes(&self) -> Result<Vec<(Backend, usize)>> {
        let room = system::room_for_watches()?;
        let inotify = self.plan.inotify.iter().map(|&count| (Backend::Inotify, count.min(room)));
        let fanotify = self.plan.fanotify.iter().map(|&count| (Backend::Fanotify, count));
        Ok(inotify
            .chain(fanotify.filter(|(_, count)| self.fanotify && (self.image.is_some() || *count <= ON_DISK)))
            .collect())
    }

    fn largest(&self, backend: Backend) -> Result<usize> {
        let sizes = self.sizes()?.into_iter().filter(|(its, _)| *its == backend);
        Ok(sizes.map(|(_, count)| count).max().unwrap_or_default())
    }

    fn parts(&mut self, count: usize) -> Result<Parts<'_>> {
        let Self { directories, disk, image, sites, .. } = self;
        let (store, file_system) = match image {
            Some(image) if count > ON_DISK => (image, "in an image"),
            _ => (disk, "on the disk"),
        };
        Ok(Parts { directories, store, sites, file_system })
    }
}
