//! The shell scripts beside the program: of packages, of FreeBSD, and the ones that build.

use super::*;

/// All of them, by the shell that reads them.
const SCRIPTS: [(&str, &str); 15] = [
    ("packaging/build.sh", "sh"),
    ("packaging/pack.sh", "sh"),
    ("packaging/try-deb.sh", "sh"),
    ("packaging/try-deb-inside.sh", "sh"),
    ("packaging/try-dockerfile.sh", "sh"),
    ("packaging/debian/postinst", "sh"),
    ("packaging/debian/prerm", "sh"),
    ("packaging/debian/postrm", "sh"),
    ("packaging/rpm/post", "sh"),
    ("packaging/rpm/preun", "sh"),
    ("packaging/rpm/postun", "sh"),
    ("packaging/freebsd/pushmaild", "sh"),
    ("packaging/docker-mailserver/user-patches.sh", "bash"),
    ("examples/demo.sh", "sh"),
    ("tests/run.sh", "sh"),
];

#[test]
fn shells_and_shellcheck_find_nothing_wrong_with_the_scripts() {
    for (script, shell) in SCRIPTS {
        let path = project_file(script);
        let parsed = run(Command::new(shell).arg("-n").arg(&path), shell);
        assert_eq!(said(&parsed), "", "{script}");
        let checked = run(Command::new("shellcheck").args(["--shell", shell]).arg(&path), "shellcheck");
        assert!(checked.status.success(), "{}", said(&checked));
    }
}

/// rc.subr is FreeBSD's: in its place something that says what it was told.
#[test]
fn the_rc_script_starts_the_daemon_as_it_wants_to_be_started() {
    let text = project_text("packaging/freebsd/pushmaild");
    let stand_in = "load_rc_config() { :; }; run_rc_command() { echo $command $command_args; }";
    assert_eq!(text.matches("\n. /etc/rc.subr\n").count(), 1);
    let text = text.replace("\n. /etc/rc.subr\n", &format!("\n{stand_in}\n"));
    let output = run(Command::new("sh").args(["-c", &text, "pushmaild", "start"]), "dash");
    let told = said(&output);
    let (daemon, arguments) = told.split_once(" /usr/local/bin/pushmaild ").expect("the program");
    assert_eq!(daemon, "/usr/sbin/daemon -f -p /var/run/pushmaild.pid -S -T pushmaild -l mail");
    assert_eq!(arguments.trim(), "run -c /usr/local/etc/pushmaild/pushmaild.toml");
    assert_arguments_are_known(&arguments.split_whitespace().collect::<Vec<_>>());
}
