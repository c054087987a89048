//! The LaunchDaemon, compared with launchd.plist(5), and the log that it writes.

use plist::Value;

use super::*;

const PLIST: &str = "launchd/org.pushmaild.pushmaild.plist";
const RESTART: &str = "packaging/macos/org.pushmaild.restart.plist";
const NEWSYSLOG: &str = "packaging/macos/newsyslog-pushmaild.conf";

/// What a key of launchd.plist(5) takes.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Boolean,
    Integer,
    String,
    Strings,
    /// A dictionary with these keys.
    Dictionary(&'static [(&'static str, Kind)]),
    /// A dictionary with any keys.
    Environment,
    /// One or the other.
    Either(&'static Kind, &'static Kind),
}

const LIMITS: Kind = Kind::Dictionary(&[
    ("Core", Kind::Integer),
    ("CPU", Kind::Integer),
    ("Data", Kind::Integer),
    ("FileSize", Kind::Integer),
    ("MemoryLock", Kind::Integer),
    ("NumberOfFiles", Kind::Integer),
    ("NumberOfProcesses", Kind::Integer),
    ("ResidentSetSize", Kind::Integer),
    ("Stack", Kind::Integer),
]);

/// The keys of launchd.plist(5) that a daemon has a use for, without those that it calls
/// obsolete or not implemented.
const KEYS: Kind = Kind::Dictionary(&[
    ("AbandonProcessGroup", Kind::Boolean),
    ("EnvironmentVariables", Kind::Environment),
    ("ExitTimeOut", Kind::Integer),
    ("GroupName", Kind::String),
    ("HardResourceLimits", LIMITS),
    ("InitGroups", Kind::Boolean),
    (
        "KeepAlive",
        Kind::Either(
            &Kind::Boolean,
            &Kind::Dictionary(&[("SuccessfulExit", Kind::Boolean), ("Crashed", Kind::Boolean)]),
        ),
    ),
    ("Label", Kind::String),
    ("LowPriorityIO", Kind::Boolean),
    ("Nice", Kind::Integer),
    ("ProcessType", Kind::String),
    ("Program", Kind::String),
    ("ProgramArguments", Kind::Strings),
    ("RootDirectory", Kind::String),
    ("RunAtLoad", Kind::Boolean),
    ("SoftResourceLimits", LIMITS),
    ("StandardErrorPath", Kind::String),
    ("StandardInPath", Kind::String),
    ("StandardOutPath", Kind::String),
    (
        "StartCalendarInterval",
        Kind::Dictionary(&[
            ("Minute", Kind::Integer),
            ("Hour", Kind::Integer),
            ("Day", Kind::Integer),
            ("Weekday", Kind::Integer),
            ("Month", Kind::Integer),
        ]),
    ),
    ("ThrottleInterval", Kind::Integer),
    ("Umask", Kind::Either(&Kind::Integer, &Kind::String)),
    ("UserName", Kind::String),
    ("WorkingDirectory", Kind::String),
]);

impl Kind {
    /// Says where `value` is not of this kind.
    fn check(self, name: &str, value: &Value) -> Result<(), String> {
        let fits = match self {
            Self::Boolean => value.as_boolean().is_some(),
            Self::Integer => value.as_unsigned_integer().is_some(),
            Self::String => value.as_string().is_some(),
            Self::Strings => {
                value.as_array().is_some_and(|array| array.iter().all(|item| item.as_string().is_some()))
            }
            Self::Environment => value
                .as_dictionary()
                .is_some_and(|pairs| pairs.values().all(|item| item.as_string().is_some())),
            Self::Either(one, other) => {
                return one.check(name, value).or_else(|_| other.check(name, value));
            }
            Self::Dictionary(known) => {
                let found = value.as_dictionary();
                for (key, value) in found.into_iter().flatten() {
                    let path = format!("{name}/{key}");
                    let (_, kind) = known
                        .iter()
                        .find(|(name, _)| name == key)
                        .ok_or_else(|| format!("{path}: no such key in launchd.plist(5)"))?;
                    kind.check(&path, value)?;
                }
                found.is_some()
            }
        };
        fits.then_some(()).ok_or_else(|| format!("{name}: not {self:?}"))
    }
}

#[track_caller]
fn plist() -> Value {
    read(PLIST)
}

#[track_caller]
fn read(plist: &str) -> Value {
    Value::from_file(project_file(plist)).expect("a property list")
}

/// A value by its path of keys.
#[track_caller]
fn get<'a>(plist: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(plist, |value, key| {
        let pairs = value.as_dictionary().unwrap_or_else(|| panic!("{path:?}: no dictionary"));
        pairs.get(key).unwrap_or_else(|| panic!("{path:?}: no {key}"))
    })
}

#[test]
fn the_plist_has_only_keys_and_types_that_launchd_knows() {
    KEYS.check("", &plist()).expect("launchd.plist(5)");
    KEYS.check("", &read(RESTART)).expect("launchd.plist(5)");
}

#[test]
fn the_check_of_the_plist_would_see_a_mistake() {
    let text = project_text(PLIST);
    for (right, wrong) in [
        ("<key>ThrottleInterval</key>", "<key>ThrottleIntervall</key>"),
        ("<integer>63</integer>", "<real>63.5</real>"),
        ("<key>SuccessfulExit</key>", "<key>SuccessfullExit</key>"),
        ("<string>run</string>", "<integer>1</integer>"),
    ] {
        assert_eq!(text.matches(right).count(), 1, "one `{right}`");
        let text = text.replace(right, wrong);
        let plist = Value::from_reader_xml(text.as_bytes()).expect("still a property list");
        KEYS.check("", &plist).expect_err(wrong);
    }
}

#[test]
fn launchd_starts_the_daemon_as_it_wants_to_be_started() {
    let plist = plist();
    let label = get(&plist, &["Label"]).as_string().expect("a string");
    // launchctl expects the two to agree.
    assert_eq!(PLIST, format!("launchd/{label}.plist"));

    let words: Vec<_> = get(&plist, &["ProgramArguments"])
        .as_array()
        .expect("an array")
        .iter()
        .filter_map(Value::as_string)
        .collect();
    assert_eq!(words.first(), Some(&"/usr/local/bin/pushmaild"));
    assert_arguments_are_known(&words[1..]);

    let integer = |path: &[&str]| get(&plist, path).as_unsigned_integer().expect("an integer");
    assert_eq!(integer(&["Umask"]), 0o077);
    // The daemon takes up to five seconds for its last pushes.
    assert!(integer(&["ExitTimeOut"]) > 5);
    // Less would take descriptors from the whole Mac: launchd.plist(5), NumberOfFiles.
    for limits in ["SoftResourceLimits", "HardResourceLimits"] {
        assert!(integer(&[limits, "NumberOfFiles"]) > 49_152);
    }
    let successful_exit = get(&plist, &["KeepAlive", "SuccessfulExit"]);
    assert_eq!(successful_exit.as_boolean(), Some(false), "a clean end stays one");
}

/// newsyslog moves the log that launchd opened, with the owner that the job has, and the job starts again after that and not before.
#[test]
fn the_log_that_is_moved_aside_is_the_one_that_the_job_writes() {
    let (job, restart) = (plist(), read(RESTART));
    let text = project_text(NEWSYSLOG);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let [line] = lines.as_slice() else { panic!("one line: {lines:?}") };
    let fields: Vec<_> = line.split_whitespace().collect();
    let [log, owner, mode, count, size, when, flags] = fields.as_slice() else {
        panic!("seven fields: {line}")
    };

    let string = |path: &[&str]| get(&job, path).as_string().expect("a string");
    assert_eq!(*log, string(&["StandardErrorPath"]));
    assert_eq!(*owner, format!("{}:{}", string(&["UserName"]), string(&["GroupName"])));
    // Tokens are shortened in logs, names are not.
    assert_eq!((*mode, *size), ("640", "*"));
    assert!(count.parse::<u8>().is_ok_and(|count| count > 0));
    // The flags of newsyslog.conf(5) on macOS, without J and Z, which compress what is still written to.
    assert!(flags.chars().all(|flag| "BCNUW".contains(flag)) && flags.contains('N'), "{flags}");

    let time =
        |key| get(&restart, &["StartCalendarInterval", key]).as_unsigned_integer().expect("an integer");
    assert_eq!(*when, format!("$W{}D{}", time("Weekday"), time("Hour")));
    assert!(time("Minute") > 30, "macOS runs newsyslog at half past");
    let command: Vec<_> = get(&restart, &["ProgramArguments"]).as_array().expect("an array").iter().collect();
    let target = command.last().and_then(|word| word.as_string()).expect("a word");
    assert_eq!(target, format!("system/{}", string(&["Label"])));
}
