//! The recipes for containers: what can be known of them without an engine. `packaging/try-dockerfile.sh` executes the steps.

use tempfile::TempDir;

use super::*;

const DOCKERFILE: &str = "packaging/Dockerfile";

/// The steps of a Dockerfile, each a word and the rest, with continued lines joined.
fn steps(path: &str) -> Vec<(String, String)> {
    let text = project_text(path).replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').expect("a step and its rest"))
        .map(|(step, rest)| (step.into(), rest.trim().into()))
        .collect()
}

/// What the steps of one kind say.
fn all<'a>(steps: &'a [(String, String)], kind: &str) -> Vec<&'a str> {
    steps.iter().filter(|(step, _)| step == kind).map(|(_, rest)| rest.as_str()).collect()
}

/// The words of `["pushmaild", "run"]`.
fn words(list: &str) -> Vec<String> {
    serde_json::from_str(&list[list.find('[').expect("the form with a list")..]).expect("a list of words")
}

#[test]
fn what_the_image_copies_is_there_and_it_does_not_run_as_root() {
    let steps = steps(DOCKERFILE);
    let stages: Vec<_> =
        all(&steps, "FROM").iter().filter_map(|from| from.split_once(" AS ")).map(|(_, name)| name).collect();
    for copy in all(&steps, "COPY") {
        let words: Vec<_> = copy.split_whitespace().collect();
        match words.as_slice() {
            [from, _, _] => assert!(stages.contains(&from.trim_start_matches("--from=")), "{copy}"),
            [source, _] => assert!(project_file(source).exists(), "{copy}"),
            _ => panic!("{copy}"),
        }
    }
    // The last word on the user, and after all that needs root.
    assert_eq!(all(&steps, "USER"), ["pushmaild"]);
    let last = |kind: &str| steps.iter().rposition(|(step, _)| step == kind).expect("a step");
    assert!(last("USER") > last("RUN") && last("USER") > last("COPY"));
    assert!(all(&steps, "RUN").iter().any(|run| run.starts_with("useradd ") && run.ends_with(" pushmaild")));
}

#[test]
fn the_image_starts_the_daemon_as_it_wants_to_be_started() {
    let steps = steps(DOCKERFILE);
    let [entry] = all(&steps, "ENTRYPOINT")[..] else { panic!("one ENTRYPOINT") };
    assert_eq!(words(entry), ["pushmaild"]);
    let [run] = all(&steps, "CMD")[..] else { panic!("one CMD") };
    let [health] = all(&steps, "HEALTHCHECK")[..] else { panic!("one HEALTHCHECK") };
    for words in [words(run), words(health)] {
        let arguments =
            words.iter().map(String::as_str).filter(|word| *word != "pushmaild").collect::<Vec<_>>();
        assert_arguments_are_known(&arguments);
    }
    // The C library of the place where it is built is the one of the place where it runs.
    let debian = |from: &str| from.contains("bookworm");
    assert!(all(&steps, "FROM").iter().all(|from| debian(from)));
}

#[test]
fn the_recipe_beside_docker_mailserver_fits_together() {
    let compose = project_text("packaging/docker-mailserver/compose.override.yaml");
    let configuration = project_text("packaging/docker-mailserver/pushmaild.toml");
    let plugin = project_text("packaging/docker-mailserver/95-xaps.conf");
    let readme = project_text("packaging/docker-mailserver/README.md");

    let folder = TempDir::new().expect("a temporary directory");
    let file = folder.path().join("pushmaild.toml");
    fs::write(&file, &configuration).expect("a file can be written");
    let checked =
        Command::new(PUSHMAILD).args(["check", "-c"]).arg(&file).output().expect("the program runs");
    // Valid, but /var/mail has no domains here and there is no certificate.
    assert_eq!(checked.status.code(), Some(1), "{}", said(&checked));

    // The plugin calls where the daemon listens, in the one network of both.
    assert!(configuration.contains("xaps-http = \"127.0.0.1:11619\""));
    assert!(plugin.contains("url=http://127.0.0.1:11619 "));
    assert!(compose.contains("network_mode: \"service:mailserver\""));
    // Mail and files are mounted where the configuration looks for them.
    assert!(configuration.contains("maildir:/var/mail/"));
    assert!(compose.contains(":/var/mail/:ro"));
    for name in ["pushmaild.toml", "apns.pem"] {
        assert!(
            compose.contains(&format!("./docker-data/pushmaild/{name}:/etc/pushmaild/{name}:ro")),
            "{name}"
        );
        assert!(readme.contains(name), "{name}");
    }
    for file in ["compose.override.yaml", "95-xaps.conf", "pushmaild.toml", "user-patches.sh"] {
        assert!(readme.contains(&format!("packaging/docker-mailserver/{file}")), "{file}");
    }
    // As one user in both.
    assert!(all(&steps(DOCKERFILE), "ARG").contains(&"UID=5000"));
    assert!(compose.contains("uid=5000,gid=5000"));
}
