//! Where log lines go: to journald with fields under systemd, else to stderr for people.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, filter_fn},
    fmt::format::debug_fn,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// The environment variable with the filter.
pub const FILTER: &str = "PUSHMAILD_LOG";

/// Sets logging up for the rest of the process.
///
/// # Errors
/// If the filter cannot be read; the message says what is wrong with it.
pub fn init() -> Result<(), String> {
    let filter = match std::env::var(FILTER) {
        Ok(filter) => EnvFilter::builder()
            .with_default_directive(LevelFilter::INFO.into())
            .parse(&filter)
            .map_err(|error| format!("{FILTER}=`{filter}`: {error}"))?,
        Err(_) => EnvFilter::default().add_directive(LevelFilter::INFO.into()),
    };
    let people = || {
        tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_target(false)
            // Messages read alone. The fields are the same once more, for machines: the journal has them.
            .fmt_fields(debug_fn(|writer, field, value| match field.name() {
                "message" => write!(writer, "{value:?}"),
                _ => Ok(()),
            }))
            .with_timer(Seconds)
            .boxed()
    };
    let layer = journal().unwrap_or_else(people);
    // Libraries print what they send, device tokens and all; of them only warnings are for people.
    let ours = filter_fn(|event| event.target().starts_with("pushmaild") || *event.level() <= Level::WARN);
    tracing_subscriber::registry().with(filter).with(layer.with_filter(ours)).init();
    Ok(())
}

type BoxedLayer =
    Box<dyn Layer<tracing_subscriber::layer::Layered<EnvFilter, tracing_subscriber::Registry>> + Send + Sync>;

/// The journal, if stderr is connected to it: systemd names the stream's device and inode in `JOURNAL_STREAM`.
#[cfg(target_os = "linux")]
fn journal() -> Option<BoxedLayer> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let (device, inode) = stream.split_once(':')?;
    let stderr = rustix::fs::fstat(io::stderr()).ok()?;
    let is_journal = device.parse() == Ok(stderr.st_dev) && inode.parse() == Ok(stderr.st_ino);
    is_journal.then(|| {
        tracing_journald::layer()
            .ok()
            .map(|layer| layer.with_field_prefix(Some("PUSHMAILD".to_owned())).boxed())
    })?
}

#[cfg(not(target_os = "linux"))]
fn journal() -> Option<BoxedLayer> {
    None
}

/// UTC to the millisecond.
struct Seconds;

impl tracing_subscriber::fmt::time::FormatTime for Seconds {
    fn format_time(&self, writer: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", humantime::format_rfc3339_millis(std::time::SystemTime::now()))
    }
}
