//! `load make`: the mailboxes, and a configuration to watch them with.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{Failure, options::MakeOptions, play::Tree, show_progress};

pub(crate) fn make(options: &MakeOptions) -> Result<(), Failure> {
    fs::create_dir_all(&options.dir)
        .map_err(|error| format!("cannot make {}: {error}", options.dir.display()))?;
    let dir = fs::canonicalize(&options.dir)?;
    let tree = Tree::new(dir.join("mail"), usize::try_from(options.users)?);
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(2 * cpus);

    let start = Instant::now();
    let (made, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                show_progress(&format!("{} of {} mailboxes", made.load(Ordering::Relaxed), tree.users()));
                thread::park_timeout(Duration::from_millis(200));
            }
            show_progress("");
        });
        let result = tree.make(threads, options.messages, &made);
        is_done.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        result
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let config = dir.join("pushmaild.toml");
    write_config(&config, &tree, &dir)?;

    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{} mailboxes are there after {seconds:.1} s; to watch them:", tree.users())?;
    writeln!(stdout, "  pushmaild run -c {}", config.display())?;
    writeln!(stdout, "and to let things happen to them:")?;
    writeln!(stdout, "  load run {}", dir.display())?;
    Ok(())
}

/// Writes a configuration, unless there is one: somebody may have changed it.
fn write_config(path: &Path, tree: &Tree, dir: &Path) -> Result<(), Failure> {
    // JSON's strings are strings of TOML too.
    let text = |value: &str| Value::from(value).to_string();
    let file = |name: &str| {
        dir.join(name).to_str().map(ToOwned::to_owned).ok_or("the path of the folder is not UTF-8")
    };
    let config = format!(
        "# Made by the load tool.\n\
         [mailboxes]\nmail-location = {}\n\n\
         [push-notify]\nsocket = {}\ndialect = \"osx-10.8\"\n\n\
         [registry]\nurl = {}\n\n\
         [control]\nsocket = {}\n",
        text(&tree.mail_location()),
        text(&file("push_notify")?),
        text(&format!("sqlite://{}", file("pushmaild.db")?)),
        text(&file("control.sock")?),
    );
    match File::create_new(path) {
        Ok(mut file) => Ok(file.write_all(config.as_bytes())?),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(format!("cannot write {}: {error}", path.display()).into()),
    }
}
