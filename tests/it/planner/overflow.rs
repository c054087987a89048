//! Interleavings with an overflow that are too rare for the model to meet often.

use std::time::{Duration, Instant};

use pushmaild::classifier::Op;
use pushmaild::debouncer::{Intervals, MailboxReady};
use pushmaild::mailbox::MailboxId;
use pushmaild::maildir::Part;
use pushmaild::planner::{Arrival, Look, Order, Planner, Seen, Why};
use pushmaild::stamp::Stamp;

const MAILBOX: MailboxId = MailboxId(0);

fn seen(part: Part, second: i64) -> Seen {
    let stamp = Stamp::new(1, part as u64 + 1, (second, 1), Duration::from_secs(1_000_000));
    Seen { stamp, holds_message: true }
}

/// A slow disk: the mailbox has its turn to be settled before the look that the overflow asks for. What that look to settle it sees is
/// not explained by the one event that was read, for others were dropped.
#[test]
fn an_event_before_an_overflow_does_not_explain_what_was_dropped() {
    let start = Instant::now();
    let intervals = Intervals {
        new_mail: Duration::ZERO,
        change_quiet: Duration::from_secs(1),
        change_max_wait: Duration::from_secs(1),
    };
    let mut planner = Planner::new(intervals, 1000, true);
    for part in Part::ALL {
        planner.armed((MAILBOX, part), seen(part, 10), Arrival::Old, start);
    }
    planner.is_armed(MAILBOX);
    let mut pushes = 0;
    let mut push = |_: MailboxReady| pushes += 1;
    // Something that means nothing, and then what is dropped.
    planner.event((MAILBOX, Part::Cur), Op::Created, b"dovecot-x.lock", start, &mut push);
    planner.end_of_read(start, &mut push);
    planner.overflow();
    planner.compare([MAILBOX].into_iter(), Why::Overflow);

    let saw = |order: Order| Look { order, parts: [Ok(seen(Part::New, 10)), Ok(seen(Part::Cur, 20))] };
    let mut now = start;
    let mut late = Vec::new();
    for _ in 0..6 {
        now += Duration::from_secs(5);
        planner.settle(now, |_| false);
        for order in planner.next_looks(10) {
            match order.why {
                Why::Overflow => late.push(order),
                _ => planner.looked(saw(order), true, now),
            }
        }
        planner.on_time(now, &mut push);
    }
    for order in late {
        planner.looked(saw(order), true, now);
    }
    planner.on_time(now + Duration::from_secs(5), &mut push);
    assert_eq!(pushes, 1, "what was dropped is told");
}
