//! Many at once share a commit.

use std::time::Duration;

use pushmaild::registry::service::Registered;

use super::service::{Place, today};
use crate::support::{PATIENCE, eventually};

#[test]
fn those_who_come_during_a_commit_share_the_next_one() {
    const MANY: usize = 64;
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.register("first"), Registered::Stored);
    let before = place.disk.commits();
    // One by one, each waits for its own.
    for number in 0..3 {
        service.register(&format!("one{number}"));
    }
    assert!(place.disk.commits() >= before + 3);

    let before = place.disk.commits();
    let registered = place.block_on(async {
        let clients: Vec<_> = (0..MANY)
            .map(|number| {
                let registry = service.registry.clone();
                tokio::spawn(async move { registry.register(today(&format!("user{number}"))).await })
            })
            .collect();
        let mut registered = Vec::new();
        for client in clients {
            let answer = tokio::time::timeout(PATIENCE, client).await.expect("answered");
            registered.push(answer.expect("no panic").expect("taken"));
        }
        registered
    });
    let commits = place.disk.commits() - before;
    assert!(commits < MANY / 2, "{commits} commits for {MANY} registrations");
    // A disk that is busy with other tests may make some wait; they are written all the same.
    assert!(registered.contains(&Registered::Stored));
    service.wait_good();
    assert_eq!(place.users().len(), MANY + 4);
    service.stop();
}

/// However many come while the disk is away, they are written in few transactions when it is back.
#[test]
fn what_came_during_an_outage_is_written_together() {
    const MANY: usize = 200;
    let place = Place::new();
    let service = place.start();
    service.register("first");
    place.disk.hangs();
    let all = async {
        let clients: Vec<_> = (0..MANY)
            .map(|number| {
                let registry = service.registry.clone();
                tokio::spawn(async move { registry.register(today(&format!("user{number}"))).await })
            })
            .collect();
        for client in clients {
            let answer =
                tokio::time::timeout(Duration::from_secs(10), client).await.expect("answered in time");
            assert_eq!(answer.expect("no panic").expect("taken"), Registered::Waiting);
        }
    };
    place.block_on(all);
    assert_eq!(service.health().unwritten, MANY);
    let before = place.disk.commits();
    place.disk.is_good();
    service.wait_good();
    eventually("all written", || (place.users().len() == MANY + 1).then_some(()));
    let commits = place.disk.commits() - before;
    assert!(commits <= 8, "{commits} commits");
    service.stop();
}
