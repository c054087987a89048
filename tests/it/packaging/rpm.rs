//! The RPM package, by rpm's own eyes, and installed on a copy of this machine.

use std::collections::BTreeSet;

use super::{
    packed::{Machine, pack},
    *,
};

#[track_caller]
fn query(package: &Path, arguments: &[&str]) -> String {
    let output = run(Command::new("rpm").arg("--query").args(arguments).arg("--package").arg(package), "rpm");
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_rpm_has_what_the_deb_has() {
    let (_deb_folder, deb) = pack("deb");
    let (_rpm_folder, rpm) = pack("rpm");
    let listed = run(
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(&deb).stdout(std::process::Stdio::piped()),
        "dpkg",
    );
    let folder = tempfile::TempDir::new().expect("a temporary directory");
    let tar = folder.path().join("deb.tar");
    fs::write(&tar, &listed.stdout).expect("a file can be written");
    let listed = run(Command::new("tar").arg("--list").arg("--file").arg(&tar), "tar");
    let listed = said(&listed);
    let in_deb: BTreeSet<_> =
        listed.lines().filter(|path| !path.ends_with('/')).map(|path| path.trim_start_matches('.')).collect();

    let listed = query(&rpm, &["--list"]);
    let in_rpm: BTreeSet<_> = listed.lines().collect();
    // Each system has its own place for what zsh reads, for licences and for what has changed.
    let only = |one: &BTreeSet<&str>, other: &BTreeSet<&str>| {
        one.difference(other).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        only(&in_deb, &in_rpm),
        [
            "/usr/share/doc/pushmaild/changelog.Debian.gz",
            "/usr/share/doc/pushmaild/changelog.gz",
            "/usr/share/doc/pushmaild/copyright",
            "/usr/share/zsh/vendor-completions/_pushmaild"
        ]
    );
    assert_eq!(
        only(&in_rpm, &in_deb),
        [
            "/usr/share/doc/pushmaild/CHANGELOG.md",
            "/usr/share/licenses/pushmaild/LICENSE",
            "/usr/share/licenses/pushmaild/LICENSE-APACHE",
            "/usr/share/licenses/pushmaild/LICENSE-MIT",
            "/usr/share/zsh/site-functions/_pushmaild"
        ]
    );

    let flags = query(&rpm, &["--queryformat", "[%{FILENAMES} %{FILEFLAGS:fflags} %{FILEMODES:perms}\n]"]);
    assert!(flags.contains("/etc/pushmaild/pushmaild.toml cn -rw-r--r--\n"), "%config(noreplace): {flags}");
    assert!(flags.contains("/usr/bin/pushmaild  -rwxr-xr-x\n"), "{flags}");
}

#[test]
fn the_rpm_installs_and_leaves_the_registry() {
    let (_folder, package) = pack("rpm");
    let Some(machine) = Machine::new() else { return };
    let package = machine.take(&package);

    // Debian's packages are none that rpm knows of.
    let told = machine.sh(&format!("rpm --force-debian --install --nodeps {package}"));
    assert!(told.contains("systemctl enable --now pushmaild"), "what to do next: {told}");
    assert_eq!(
        machine.sh("stat -c '%n %a %U %G' /etc/pushmaild/* /var/lib/pushmaild"),
        "/etc/pushmaild/pushmaild.toml 644 root root\n\
         /etc/pushmaild/pushmaild.toml.lock 640 root pushmaild\n\
         /var/lib/pushmaild 700 pushmaild pushmaild\n"
    );
    assert_eq!(machine.sh("systemd-analyze verify --recursive-errors=no pushmaild.service"), "", "the unit");

    machine.sh("echo '# mine' >> /etc/pushmaild/pushmaild.toml");
    machine.sh("rpm --force-debian --erase --nodeps pushmaild");
    machine.sh("test -d /var/lib/pushmaild; ! test -e /usr/bin/pushmaild");
    assert_eq!(machine.sh("tail -n 1 /etc/pushmaild/pushmaild.toml.rpmsave"), "# mine\n");
}
