//! An hour without Apple, with a hundred thousand registrations that have something pending.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::accounts::certificate;
use super::apple::Does;
use super::desk::Desk;
use super::devices::Shelf;
use super::wire::Way;

const DEVICES: u64 = 100_000;
/// Memory for all of them, above idle.
const MOST: u64 = 50_000_000;
/// Between a minute and a half of one, after the first ten.
const DIALS: usize = 130;

/// Runs the test in a process of its own, whose memory nobody else uses. True there.
#[expect(clippy::print_stdout, reason = "the figures, for those who want to see them")]
fn is_alone(test: &str) -> bool {
    const ALONE: &str = "PUSHMAILD_TEST_ALONE";
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "no such test: {test}");
    print!("{text}");
    false
}

/// What is resident, in bytes: proc(5), `VmRSS` in kB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn an_hour_with_a_hundred_thousand_devices() {
    if is_alone("apns::outage::an_hour_with_a_hundred_thousand_devices") {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(hour());
    }
}

#[expect(clippy::print_stdout, reason = "the figures, for those who want to see them")]
async fn hour() {
    let desk = Desk::of(Shelf::of_everybody(), certificate(), |_| Does::ACCEPT);
    desk.wire.leads_to(|_| Way::Refused);
    // So that what the first look-ups and dials take is not counted.
    desk.new_mail(0..1000);
    desk.let_pass(Duration::from_secs(5)).await;
    let idle = memory();
    desk.new_mail(0..DEVICES);
    desk.let_pass(Duration::from_secs(60)).await;
    let filled = memory();
    assert_eq!(desk.pending(), 100_000);
    for round in 0..6 {
        desk.new_mail((0..DEVICES).skip(round).step_by(50));
        desk.let_pass(Duration::from_secs(590)).await;
    }
    let after = memory();
    let (dials, turns) = (desk.dials(), desk.turns());
    desk.wire.leads_to(|_| Way::Streams(1000));
    let took = desk.done().await;
    desk.each_exactly_once(DEVICES);
    let above = |memory: u64| memory.saturating_sub(idle) >> 20;
    println!(
        "{DEVICES} pending: {} MiB above idle, {} after the hour; {dials} dials, {turns} turns, done after {took:?}",
        above(filled),
        above(after)
    );
    assert!(dials <= DIALS, "{dials} dials");
    assert!(after.saturating_sub(idle) <= MOST, "{} MiB", above(after));
}
