//! Packages of the program that was just built, and a machine to install them on.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use rustix::process::geteuid;
use tempfile::TempDir;

use super::{manual::write_manual, *};

/// Makes a package as `packaging/build.sh` does, `deb` or `rpm`, in a folder that the caller keeps.
#[track_caller]
pub(super) fn pack(kind: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary directory");
    // A target folder of our own, so that nothing is built again and nothing of the real one is touched.
    let target = folder.path().join("target");
    let release = target.join("release");
    fs::create_dir_all(release.join("manual")).expect("folders can be made");
    write_manual(&release.join("manual"));
    // Debug information would make the packages ten times as large.
    let stripped =
        run(Command::new("strip").arg("-o").arg(release.join("pushmaild")).arg(PUSHMAILD), "binutils");
    assert!(stripped.status.success(), "{}", said(&stripped));

    let out = folder.path().join("packages");
    let packed = Command::new(project_file("packaging/pack.sh"))
        .arg(kind)
        .arg(&out)
        // To compress well would take half a minute.
        .args(if kind == "deb" { ["--fast", "--no-strip"] } else { ["--payload-compress", "gzip"] })
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .expect("the script can be run");
    assert!(
        packed.status.success(),
        "{}\nhint: cargo install --locked cargo-deb cargo-generate-rpm",
        said(&packed)
    );
    let mut made =
        fs::read_dir(&out).expect("the folder was made").map(|entry| entry.expect("an entry").path());
    let package = made.next().expect("a package was made");
    assert_eq!(package.extension().and_then(|extension| extension.to_str()), Some(kind));
    (folder, package)
}

/// A copy of this machine that can be changed at will: its disk below a layer of memory, in a mount namespace that goes with this value.
pub(super) struct Machine {
    holder: Child,
    folder: TempDir,
}

impl Machine {
    /// None where that is not allowed; it says so.
    #[expect(clippy::print_stdout, reason = "a test that is left out says so")]
    pub(super) fn new() -> Option<Self> {
        if !geteuid().is_root() {
            println!("not installed: only root can install packages");
            return None;
        }
        let folder = TempDir::new().expect("a temporary directory");
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-ec"])
            .arg(
                "mount -t tmpfs none \"$1\"; cd \"$1\"; mkdir layer work root
                mount -t overlay overlay -o lowerdir=/,upperdir=\"$1/layer\",workdir=\"$1/work\" root
                mount -t proc proc root/proc; mount --rbind /dev root/dev
                mount -t tmpfs none root/run; mount -t tmpfs none root/tmp; chmod 1777 root/tmp
                echo ready; read _",
            )
            .arg("sh")
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare is there");
        let mut said = String::new();
        BufReader::new(holder.stdout.as_mut().expect("a pipe")).read_line(&mut said).expect("a line");
        if said != "ready\n" {
            let output = holder.wait_with_output().expect("it has ended");
            println!(
                "not installed: nothing may be mounted here: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            return None;
        }
        Some(Self { holder, folder })
    }

    /// A command on that machine. The process that it starts becomes `program`, so its id is the one to signal.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let holder = self.holder.id().to_string();
        command
            .args(["--mount", "--target", &holder, "chroot"])
            .arg(self.folder.path().join("root"))
            .arg(program);
        command
    }

    /// Runs a script there, which must end well, and gives what it wrote.
    #[track_caller]
    pub(super) fn sh(&self, script: &str) -> String {
        let output = self.command("sh").args(["-ec", script]).output().expect("nsenter is there");
        assert!(output.status.success(), "{script}: {}", said(&output));
        said(&output)
    }

    /// Puts a file into its /tmp, and gives its name there.
    #[track_caller]
    pub(super) fn take(&self, file: &Path) -> String {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        let content = fs::File::open(file).expect("the file");
        let path = format!("/tmp/{name}");
        let status = self.command("tee").arg(&path).stdin(content).stdout(Stdio::null()).status();
        assert!(status.expect("tee is there").success());
        path
    }

    /// The files and folders that are there and were not before, and those that changed, but for the records of package managers.
    #[track_caller]
    pub(super) fn changed(&self) -> Vec<String> {
        let output = Command::new("nsenter")
            .args(["--mount", "--target", &self.holder.id().to_string(), "find"])
            .arg(self.folder.path().join("layer"))
            .args(["-mindepth", "1", "-not", "-type", "c", "-not", "-type", "d", "-printf", "/%P\n"])
            .args(["-o", "-name", "*pushmaild*", "-not", "-type", "c", "-printf", "/%P\n"])
            .output()
            .expect("nsenter is there");
        let ours = ["/var/lib/dpkg/", "/var/lib/rpm/", "/root/.rpmdb/", "/var/cache/", "/var/log/"];
        let mut changed: Vec<_> = said(&output).lines().map(str::to_owned).collect();
        changed.retain(|path| !ours.iter().any(|folder| path.starts_with(folder)));
        changed.sort();
        changed
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It reads a line; without a writer it ends, and what it mounted goes with it.
        drop(self.holder.stdin.take());
        drop(self.holder.wait());
    }
}
