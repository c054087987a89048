//! The Debian package, installed on a copy of this machine with Debian's own dpkg, upgraded, removed, purged.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    packed::{Machine, pack},
    *,
};

#[test]
fn the_package_installs_upgrades_and_goes_without_a_trace() {
    let (_folder, package) = pack("deb");
    let Some(machine) = Machine::new() else { return };
    let package = machine.take(&package);

    let told = machine.sh(&format!("dpkg --install {package}"));
    assert!(told.contains("systemctl enable --now pushmaild"), "what to do next: {told}");
    is_installed(&machine);
    the_default_configuration_lacks_a_certificate_and_nothing_else(&machine);
    the_daemon_starts(&machine);

    // The administrator's work: another port, a certificate, a registry with something in it.
    machine.sh("echo '# mine' >> /etc/pushmaild/pushmaild.toml; echo key > /etc/pushmaild/apns.pem; test -s /var/lib/pushmaild/pushmaild.db");
    let told = machine.sh(&format!("dpkg --no-triggers --install {package}"));
    assert!(!told.contains("systemctl enable"), "an upgrade says nothing: {told}");
    assert_eq!(machine.sh("tail -n 1 /etc/pushmaild/pushmaild.toml"), "# mine\n", "an upgrade leaves it");

    machine.sh("dpkg --no-triggers --remove pushmaild");
    machine.sh("test -s /etc/pushmaild/pushmaild.toml; test -s /var/lib/pushmaild/pushmaild.db; ! test -e /usr/bin/pushmaild");

    machine.sh("dpkg --no-triggers --purge pushmaild");
    // The certificate was not the package's. The user stays, so that nobody else gets its number.
    let accounts =
        ["/etc/group", "/etc/group-", "/etc/gshadow", "/etc/gshadow-", "/etc/passwd", "/etc/passwd-"];
    let mut left = machine.changed();
    left.retain(|path| {
        !accounts.contains(&path.as_str()) && !path.starts_with("/etc/shadow") && path != "/etc/.pwd.lock"
    });
    assert_eq!(left, ["/etc/pushmaild", "/etc/pushmaild/apns.pem"]);
}

fn is_installed(machine: &Machine) {
    let status =
        machine.sh("dpkg-query --show --showformat '${Status};${Conffiles};${Depends};${Version}' pushmaild");
    let [state, conffiles, depends, version] =
        status.split(';').collect::<Vec<_>>().try_into().expect("four parts");
    assert_eq!(state, "install ok installed");
    assert!(conffiles.contains(" /etc/pushmaild/pushmaild.toml "), "{conffiles}");
    assert!(depends.starts_with("libc6 (>="), "{depends}");
    assert_eq!(machine.sh("dpkg --verify pushmaild"), "", "as packed");
    // `version` is Cargo.toml's: whoever raises it writes an entry, or this fails.
    let changelogs = machine.sh("cd /usr/share/doc/pushmaild; zcat changelog.Debian.gz changelog.gz");
    assert!(changelogs.starts_with(&format!("pushmaild ({version}) ")), "{version}: {changelogs}");
    assert!(changelogs.contains("\n# Changelog\n"), "{changelogs}");

    let stat = "stat -c '%n %a %U %G' /usr/bin/pushmaild /etc/pushmaild /etc/pushmaild/* /var/lib/pushmaild";
    assert_eq!(
        machine.sh(stat),
        "/usr/bin/pushmaild 755 root root\n\
         /etc/pushmaild 755 root root\n\
         /etc/pushmaild/pushmaild.toml 644 root root\n\
         /etc/pushmaild/pushmaild.toml.lock 640 root pushmaild\n\
         /var/lib/pushmaild 700 pushmaild pushmaild\n"
    );
    for (page, section) in [("pushmaild", 1), ("pushmaild-devices-list", 1), ("pushmaild.toml", 5)] {
        let found = machine.sh(&format!("man --where {page}"));
        assert_eq!(found, format!("/usr/share/man/man{section}/{page}.{section}.gz\n"));
    }
    machine.sh("test -s /usr/share/bash-completion/completions/pushmaild
         test -s /usr/share/zsh/vendor-completions/_pushmaild
         test -s /usr/share/fish/vendor_completions.d/pushmaild.fish
         cd /usr/share/doc/pushmaild; test -s copyright; test -s README.md; test -s examples/everything.toml
         test -s examples/pushmaild-fanotify.conf");
    assert_eq!(machine.sh("systemd-analyze verify --recursive-errors=no pushmaild.service"), "", "the unit");
    // It waits for its configuration.
    assert_eq!(machine.sh("systemctl is-enabled pushmaild.service || true"), "disabled\n");
}

fn the_default_configuration_lacks_a_certificate_and_nothing_else(machine: &Machine) {
    let output = machine.command("pushmaild").arg("check").output().expect("nsenter is there");
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let problems: Vec<_> = told.lines().filter(|line| line.starts_with("problem: ")).collect();
    let [problem] = problems.as_slice() else { panic!("one problem: {told}") };
    assert!(problem.contains("/etc/pushmaild/apns.pem"), "{problem}");
}

/// As the unit starts it: its user, its one capability, its folder in /run.
fn the_daemon_starts(machine: &Machine) {
    // Another test, or a daemon of this machine, may have the port.
    machine.sh("install -d -o pushmaild /run/pushmaild; sed -i s/:11619/:0/ /etc/pushmaild/pushmaild.toml");
    let mut daemon = machine
        .command("setpriv")
        .args(["--reuid=pushmaild", "--regid=pushmaild", "--clear-groups", "--no-new-privs"])
        .args(["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"])
        .args(["--bounding-set=-all,+dac_read_search", "pushmaild", "run"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("nsenter is there");
    let mut lines = BufReader::new(daemon.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut told = String::new();
    let started =
        lines.by_ref().inspect(|line| told += &format!("{line}\n")).any(|line| line.contains(" watching "));
    assert!(started, "{told}");
    kill_process(Pid::from_child(&daemon), Signal::TERM).expect("it runs");
    told.extend(lines.map(|line| line + "\n"));
    assert!(daemon.wait().expect("it ends").success(), "{told}");
    assert!(told.contains("pushes to Apple wait: /etc/pushmaild/apns.pem"), "{told}");
}
