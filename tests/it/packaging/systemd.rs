//! The service files for systemd, as systemd reads them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::TempDir;

use super::*;

const UNIT: &str = "systemd/pushmaild.service";
/// Where the unit expects the program.
const INSTALLED: &str = "/usr/bin/pushmaild";

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
    run(
        Command::new("systemd-analyze").args(["verify", "--recursive-errors=no", "--man=no"]).arg(&unit),
        "systemd",
    )
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

/// The unit with a drop-in, as `systemctl` would read the two.
fn with_drop_in(unit: &str, drop_in: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary directory");
    let path = folder.path().join("pushmaild.service");
    fs::write(&path, unit).expect("the temporary directory can be written");
    let drop_ins = folder.path().join("pushmaild.service.d");
    fs::create_dir(&drop_ins).expect("a folder can be made");
    fs::write(drop_ins.join("more.conf"), drop_in).expect("a file can be written");
    (folder, path)
}

/// `systemd-analyze verify` of the unit with a drop-in.
#[track_caller]
fn verify_with(drop_in: &str) -> Output {
    let (_folder, unit) = with_drop_in(&runnable_unit(), drop_in);
    run(
        Command::new("systemd-analyze").args(["verify", "--recursive-errors=no", "--man=no"]).arg(&unit),
        "systemd",
    )
}

#[test]
fn systemd_accepts_the_drop_in_for_fanotify() {
    let text = project_text(FANOTIFY);
    let output = verify_with(&text);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output), "", "not a single warning");
    // And it is read at all.
    for (right, wrong) in [("SystemCallFilter=", "SytemCallFilter="), ("_mark\n", "_park\n")] {
        assert_ne!(said(&verify_with(&text.replace(right, wrong))), "", "`{wrong}`");
    }
}

#[test]
fn systemd_accepts_each_line_of_the_drop_in_for_exec() {
    let text = project_text("systemd/pushmaild-exec.conf");
    let mut settings = 0;
    let uncommented: String = text
        .lines()
        .map(|line| {
            let setting =
                line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
            settings += usize::from(setting.is_some());
            format!("{}\n", setting.unwrap_or(line))
        })
        .collect();
    assert!(settings > 5, "as it is installed it changes nothing: {text}");
    let output = verify_with(&uncommented);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(said(&output), "", "not a single warning");
    assert_ne!(said(&verify_with(&uncommented.replace("@resources", "@resource"))), "");
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

    // Debian 12 has systemd 252, which does not know notify-reload. And a small one has no /bin/kill.
    assert_eq!(settings("Type"), ["notify"]);
    assert_eq!(settings("ExecReload"), ["/bin/sh -c 'kill -HUP $MAINPID'"]);
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
