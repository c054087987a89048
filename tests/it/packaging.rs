//! What is installed beside the program: the service files and the examples, tried as the tools
//! that read them would.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const PUSHMAILD: &str = env!("CARGO_BIN_EXE_pushmaild");

/// A file of the project.
fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Its text.
#[track_caller]
fn project_text(path: &str) -> String {
    let path = project_file(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Both outputs of a program, as a test that fails shows them.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The words of a command line are ones that the program knows: clap reads them all before it
/// prints its help.
#[track_caller]
fn assert_arguments_are_known(arguments: &[&str]) {
    let output = Command::new(PUSHMAILD)
        .args(arguments)
        .arg("--help")
        .output()
        .expect("the program that was just built runs");
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
}

#[cfg(target_os = "linux")]
mod systemd {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use tempfile::TempDir;

    use super::*;

    const UNIT: &str = "systemd/pushmaild.service";
    /// Where the unit expects the program.
    const INSTALLED: &str = "/usr/bin/pushmaild";

    /// Runs a program that a Debian package brings. One that is missing is a failure, never a
    /// reason to skip.
    #[track_caller]
    fn run(command: &mut Command, package: &str) -> Output {
        match command.output() {
            Ok(output) => output,
            Err(error) => {
                panic!("cannot run {:?}: {error}\nhint: apt-get install {package}", command.get_program())
            }
        }
    }

    /// The values of all lines `key=…` of the unit.
    fn settings(key: &str) -> Vec<String> {
        project_text(UNIT)
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(str::to_owned)
            .collect()
    }

    /// `systemd-analyze verify` of a unit with this text.
    #[track_caller]
    fn verify(text: &str) -> Output {
        let folder = TempDir::new().expect("a temporary directory");
        let unit = folder.path().join("pushmaild.service");
        fs::write(&unit, text).expect("the temporary directory can be written");
        // What other units on this machine have wrong is not asked here.
        run(Command::new("systemd-analyze").args(["verify", "--recursive-errors=no"]).arg(&unit), "systemd")
    }

    /// The unit with the program that was just built in the place of the installed one.
    fn runnable_unit() -> String {
        let text = project_text(UNIT);
        let installed = format!("ExecStart={INSTALLED} ");
        assert_eq!(text.matches(&installed).count(), 1, "one `{installed}`");
        text.replace(&installed, &format!("ExecStart={PUSHMAILD} "))
    }

    #[test]
    fn systemd_accepts_the_unit() {
        let output = verify(&runnable_unit());
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(said(&output), "", "not a single warning");
    }

    #[test]
    fn the_check_of_the_unit_would_see_a_mistake() {
        for (right, wrong) in [
            ("ProtectSystem=strict", "ProtectSytem=strict"),
            ("WatchdogSec=60s", "WatchdogSec=60 parsecs"),
            ("@keyring ", "@key-ring "),
        ] {
            let text = runnable_unit();
            assert!(text.contains(right), "`{right}` is in the unit");
            assert_ne!(said(&verify(&text.replace(right, wrong))), "", "`{wrong}`");
        }
    }

    #[test]
    fn the_sandbox_leaves_little_exposed() {
        // 2.0 of 10; systemd-analyze exits with 1 above it.
        let output = run(
            Command::new("systemd-analyze")
                .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
                .arg(project_file(UNIT)),
            "systemd",
        );
        assert!(output.status.success(), "{}", said(&output));
    }

    const FANOTIFY: &str = "systemd/pushmaild-fanotify.conf";

    /// The unit with the drop-in for fanotify, as `systemctl` would read the two.
    fn with_drop_in(unit: &str, drop_in: &str) -> (TempDir, PathBuf) {
        let folder = TempDir::new().expect("a temporary directory");
        let path = folder.path().join("pushmaild.service");
        fs::write(&path, unit).expect("the temporary directory can be written");
        let drop_ins = folder.path().join("pushmaild.service.d");
        fs::create_dir(&drop_ins).expect("a folder can be made");
        fs::write(drop_ins.join("fanotify.conf"), drop_in).expect("a file can be written");
        (folder, path)
    }

    #[test]
    fn systemd_accepts_the_drop_in_for_fanotify() {
        let verify = |drop_in: &str| {
            let (_folder, unit) = with_drop_in(&runnable_unit(), drop_in);
            run(
                Command::new("systemd-analyze").args(["verify", "--recursive-errors=no"]).arg(&unit),
                "systemd",
            )
        };
        let text = project_text(FANOTIFY);
        let output = verify(&text);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(said(&output), "", "not a single warning");
        // And it is read at all.
        for (right, wrong) in [("SystemCallFilter=", "SytemCallFilter="), ("_mark\n", "_park\n")] {
            assert_ne!(said(&verify(&text.replace(right, wrong))), "", "`{wrong}`");
        }
    }

    /// The capability costs what it costs; the rest of the sandbox stands.
    #[test]
    fn the_drop_in_for_fanotify_opens_nothing_but_what_it_says() {
        let (_folder, path) = with_drop_in(&project_text(UNIT), &project_text(FANOTIFY));
        // 2.0 of 10, after 1.7 without it.
        let output = run(
            Command::new("systemd-analyze")
                .args(["security", "--offline=true", "--threshold=25", "--no-pager"])
                .arg(&path),
            "systemd",
        );
        assert!(output.status.success(), "{}", said(&output));
        let report = said(&output);
        assert!(report.contains("\u{2717} CapabilityBoundingSet=~CAP_SYS_ADMIN"), "it is granted: {report}");
    }

    #[test]
    fn the_unit_starts_the_daemon_as_it_wants_to_be_started() {
        let start = settings("ExecStart");
        let [start] = start.as_slice() else {
            panic!("one ExecStart, not {start:?}");
        };
        let words: Vec<_> = start.split_whitespace().collect();
        assert_eq!(words.first(), Some(&INSTALLED));
        assert_arguments_are_known(&words[1..]);

        // Debian 12 has systemd 252, which does not know notify-reload.
        assert_eq!(settings("Type"), ["notify"]);
        // The exit statuses after which the next start would fail as well.
        assert_eq!(settings("RestartPreventExitStatus"), ["2 78"]);
        assert_eq!(settings("AmbientCapabilities"), ["CAP_DAC_READ_SEARCH"]);
        assert_eq!(settings("CapabilityBoundingSet"), ["CAP_DAC_READ_SEARCH"]);
    }

    /// One account of a passwd or group file, by its columns.
    #[track_caller]
    fn account(root: &Path, file: &str) -> Vec<String> {
        let path = root.join("etc").join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let line = text.lines().find(|line| line.starts_with("pushmaild:"));
        let line = line.unwrap_or_else(|| panic!("no pushmaild in {file}: {text}"));
        line.split(':').map(str::to_owned).collect()
    }

    /// A root directory with what `pushmaild.sysusers` puts into it.
    #[track_caller]
    fn root_with_user() -> TempDir {
        let root = TempDir::new().expect("a temporary directory");
        fs::create_dir(root.path().join("etc")).expect("the temporary directory can be written");
        let output = run(
            Command::new("systemd-sysusers")
                .arg("--root")
                .arg(root.path())
                .arg(project_file("systemd/pushmaild.sysusers")),
            "systemd",
        );
        assert!(output.status.success(), "{}", said(&output));
        root
    }

    #[test]
    fn sysusers_makes_a_user_who_cannot_log_in() {
        let root = root_with_user();

        let user = account(root.path(), "passwd");
        let group = account(root.path(), "group");
        assert_eq!(user[3], group[2], "the user's group is his own");
        assert_ne!(user[2], "0");
        assert_eq!(user[5], "/var/lib/pushmaild");
        assert_eq!(user[6], "/usr/sbin/nologin");

        assert_eq!(settings("User"), [user[0].as_str()]);
        assert_eq!(settings("Group"), [group[0].as_str()]);
        assert_eq!(settings("StateDirectory"), ["pushmaild"], "the user's home");
    }

    #[test]
    fn tmpfiles_makes_a_lock_that_the_daemon_can_open_and_others_cannot() {
        let root = root_with_user();
        let is_root = rustix::process::geteuid().is_root();
        let mut tmpfiles = if is_root {
            Command::new("systemd-tmpfiles")
        } else {
            // Only root may give files away. In a user namespace of their own anybody is root, and
            // nobody else is there: so there root has to be the daemon's user as well.
            for (file, line) in [("passwd", "pushmaild:x:0:0:::\n"), ("group", "pushmaild:x:0:\n")] {
                fs::write(root.path().join("etc").join(file), line)
                    .expect("the temporary directory can be written");
            }
            let mut unshare = Command::new("unshare");
            unshare.args(["--map-root-user", "systemd-tmpfiles"]);
            unshare
        };
        let output = run(
            tmpfiles
                .args(["--create", "--root"])
                .arg(root.path())
                .arg(project_file("systemd/pushmaild.tmpfiles")),
            "systemd util-linux",
        );
        assert!(output.status.success(), "{}", said(&output));

        let folder = root.path().join("etc/pushmaild");
        let folder = fs::metadata(&folder).expect("tmpfiles made it");
        assert!(folder.is_dir());
        assert_eq!(folder.permissions().mode() & 0o7777, 0o755);

        let lock = root.path().join("etc/pushmaild/pushmaild.toml.lock");
        let lock = fs::metadata(&lock).expect("tmpfiles made it");
        assert!(lock.is_file());
        assert_eq!(lock.permissions().mode() & 0o7777, 0o640);

        let state = fs::metadata(root.path().join("var/lib/pushmaild")).expect("tmpfiles made it");
        let mode = format!("{:04o}", state.permissions().mode() & 0o7777);
        assert_eq!(settings("StateDirectoryMode"), [mode]);

        if is_root {
            let user = account(root.path(), "passwd");
            assert_eq!(state.uid().to_string(), user[2]);
            let group = account(root.path(), "group");
            assert_eq!((folder.uid(), folder.gid()), (0, 0));
            assert_eq!(lock.uid(), 0);
            assert_eq!(lock.gid().to_string(), group[2]);
        }

        // systemd complains at each start when the two differ; 0755 is its default.
        assert_eq!(settings("ConfigurationDirectory"), ["pushmaild"]);
        assert_eq!(settings("ConfigurationDirectoryMode"), [""; 0]);
    }

    #[test]
    fn the_sysctl_example_names_limits_that_the_kernel_has() {
        let text = project_text("systemd/60-pushmaild-inotify.conf");
        let mut names = Vec::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line.split_once('=').expect("`name = value`");
            let limit = name.trim().replace('.', "/");
            fs::metadata(Path::new("/proc/sys").join(limit)).expect("a sysctl of this kernel");
            value.trim().parse::<u32>().expect("a number");
            names.push(name.trim());
        }
        assert_eq!(names, ["fs.inotify.max_user_watches", "fs.inotify.max_user_instances"]);
    }
}

mod launchd {
    use plist::Value;

    use super::*;

    const PLIST: &str = "launchd/org.pushmaild.pushmaild.plist";

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
        Value::from_file(project_file(PLIST)).expect("a property list")
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
}

mod examples {
    use std::collections::BTreeSet;

    use tempfile::TempDir;
    use toml::{Table, Value};

    use super::*;

    /// The exit status for a configuration that is refused.
    const CONFIGURATION_INVALID: i32 = 78;

    /// The examples: each name and its text.
    fn examples() -> Vec<(String, String)> {
        let mut found: Vec<_> = fs::read_dir(project_file("examples"))
            .expect("the examples")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .map(|path| {
                let text = fs::read_to_string(&path).expect("an example");
                let name = path.file_name().expect("a file").to_string_lossy().into_owned();
                (name, text)
            })
            .collect();
        found.sort();
        found
    }

    /// `pushmaild check` of a file with this text.
    fn check(text: &str) -> (Option<i32>, String) {
        let folder = TempDir::new().expect("a temporary directory");
        let path = folder.path().join("pushmaild.toml");
        fs::write(&path, text).expect("the temporary directory can be written");
        let output = Command::new(PUSHMAILD)
            .args(["check", "-c"])
            .arg(&path)
            .output()
            .expect("the program that was just built runs");
        (output.status.code(), said(&output))
    }

    /// Every table in `table`, by its path, and every key that is not a table. Whoever is listed
    /// in `mailboxes.users` is a name and no key, so that is one key.
    fn walk(table: &Table, path: &str, tables: &mut BTreeSet<String>, keys: &mut BTreeSet<String>) {
        tables.insert(path.to_owned());
        for (key, value) in table {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value {
                Value::Table(inner) if path != "mailboxes.users" => {
                    walk(inner, &path, tables, keys);
                }
                _ => {
                    keys.insert(path);
                }
            }
        }
    }

    /// The paths of all tables and of all keys of an example.
    #[track_caller]
    fn tables_and_keys(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
        let (mut tables, mut keys) = (BTreeSet::new(), BTreeSet::new());
        let table: Table = text.parse().expect("the example is TOML");
        walk(&table, "", &mut tables, &mut keys);
        (tables, keys)
    }

    /// The example with a key that does not exist in the table at `path`, and the line where it is.
    #[track_caller]
    fn with_stray_key(text: &str, path: &str) -> (String, usize) {
        let header = format!("[{path}]");
        let name = path.rsplit('.').next().expect("split gives at least one");
        let inline = format!("{name} = {{ ");
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let line = if path.is_empty() {
            lines.insert(0, "stray-key = true".to_owned());
            0
        } else if let Some(at) = lines.iter().position(|line| *line == header) {
            lines.insert(at + 1, "stray-key = true".to_owned());
            at + 1
        } else if let Some(at) = lines.iter().position(|line| line.starts_with(&inline)) {
            lines[at] = lines[at].replacen(&inline, &format!("{inline}stray-key = true, "), 1);
            at
        } else if let Some(at) = lines.iter().position(|line| line.starts_with(&format!("[{path}."))) {
            // A table that is there only because of the one inside it.
            lines.splice(at..at, [header, "stray-key = true".to_owned()]);
            at + 1
        } else {
            panic!("no table {path} in {text}");
        };
        (lines.join("\n"), line + 1)
    }

    #[test]
    fn check_accepts_every_example() {
        let examples = examples();
        let names: Vec<_> = examples.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "everything.toml",
                "exec.toml",
                "family-mac.toml",
                "linux-apns.toml",
                "linux-dovecot.toml",
                "os-x-server.toml"
            ]
        );
        for (name, text) in &examples {
            let (status, said) = check(text);
            // 1: it is valid, but the folders and sockets in it are not on this machine.
            assert!(matches!(status, Some(0 | 1)), "{name}: {status:?}: {said}");
        }
    }

    #[test]
    fn check_refuses_a_stray_key_in_every_table_of_every_example() {
        for (name, text) in &examples() {
            for table in tables_and_keys(text).0 {
                let (text, line) = with_stray_key(text, &table);
                let stray =
                    if table.is_empty() { "stray-key".to_owned() } else { format!("{table}.stray-key") };
                assert!(tables_and_keys(&text).1.contains(&stray), "{name} has {stray}");

                let (status, said) = check(&text);
                assert_eq!(status, Some(CONFIGURATION_INVALID), "{name}, {stray}: {said}");
                assert!(said.contains("stray-key"), "{name}, {stray}: {said}");
                let place = format!("pushmaild.toml:{line}:");
                assert!(said.contains(&place), "{name}, {stray}, no `{place}`: {said}");
            }
        }
    }

    #[test]
    fn everything_has_every_key() {
        let (_, keys) = tables_and_keys(&project_text("examples/everything.toml"));
        let expected = [
            "apns.ca-file",
            "apns.certificate",
            "apns.change-priority",
            "apns.endpoint",
            "apns.environment",
            "apns.key",
            "apns.new-mail-priority",
            "apns.password-file",
            "apns.proxy",
            "apns.topic",
            "control.group",
            "control.http",
            "control.socket",
            "control.token-file",
            "debounce.catch-up-rate",
            "debounce.change-max-wait",
            "debounce.change-quiet",
            "debounce.new-mail-interval",
            "exec.command",
            "exec.concurrency",
            "exec.timeout",
            "listen.allow-remote",
            "listen.group",
            "listen.mode",
            "listen.peers",
            "listen.push-notify-datagram",
            "listen.push-notify-stream",
            "listen.xaps-http",
            "listen.xaps-socket",
            "mailboxes.mail-location",
            "mailboxes.map-file",
            "mailboxes.passwd.maildir",
            "mailboxes.passwd.max-uid",
            "mailboxes.passwd.min-uid",
            "mailboxes.username-format",
            "mailboxes.users",
            "push-notify.dialect",
            "push-notify.socket",
            "registry.devices-per-user",
            "registry.expire",
            "registry.url",
            "watch.backend",
            "watch.mailboxes",
            "watch.poll-interval",
            "watch.sweep-interval",
        ];
        assert_eq!(keys.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }
}
