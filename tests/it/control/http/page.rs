//! The status page in a real browser.

use std::fs;

use serde_json::Value;

use super::super::{JESSE, JO};
use super::{address, config, get};
use crate::support::{Browser, Site};

#[test]
fn it_renders_updates_and_recovers() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let config = config(&site);
    let daemon = site.start(&config);
    let to = address(&daemon);
    let mut browser = Browser::start();
    browser.open(&format!("http://{to}/"));
    assert_eq!(browser.evaluate("document.querySelector('h1').innerText"), "All is well");
    assert_eq!(browser.evaluate("document.title"), "All is well · pushmaild");
    assert_eq!(
        browser.evaluate(
            "document.querySelector('.empty:not(:empty)').innerText.startsWith('Nothing was pushed')"
        ),
        true
    );
    // The style is used, and the page is still the same one afterwards.
    assert_eq!(browser.evaluate("getComputedStyle(document.querySelector('.columns')).display"), "grid");
    browser.evaluate("window.same = 'page'");

    jesse.deliver();
    receiver.expect(JESSE);
    browser.wait_for(&format!("document.querySelector('.pushes tbody')?.innerText.includes('{JESSE}')"));
    browser.wait_for("document.querySelector('.plot use.new-mail') !== null");
    assert_eq!(browser.evaluate("document.querySelectorAll('.pushes tbody tr').length"), 1);
    jesse.deliver();
    receiver.expect(JESSE);
    browser.wait_for("document.querySelectorAll('.pushes tbody tr').length === 2");
    assert_eq!(browser.evaluate("window.same"), "page", "it was not loaded again");
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // The daemon goes, and the page says that it shows the past.
    daemon.stop();
    browser.wait_for("document.getElementById('stale').innerText.includes('does not answer')");
    assert_eq!(browser.evaluate("document.title.startsWith('No answer')"), true);
    assert_ne!(browser.evaluate("getComputedStyle(document.querySelector('main')).filter"), "none");
    assert_eq!(browser.evaluate("document.querySelectorAll('.pushes tbody tr').length"), 2);
    let _daemon = site.start(&config.set("control.http", &to.to_string()));
    browser.wait_for("document.getElementById('stale').innerText === ''");
    browser.wait_for("document.querySelectorAll('.pushes tbody tr').length === 0");
    browser.wait_for("document.title === 'All is well · pushmaild'");
    assert_eq!(browser.evaluate("window.same"), "page");
    // That nobody answered is no secret.
    let others = |complaint: &String| !complaint.contains("ERR_CONNECTION_REFUSED");
    assert!(!browser.complaints().iter().any(others));
}

#[test]
fn without_scripts_it_is_complete_and_loads_itself() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let receiver = site.receiver();
    let daemon = site.start(&config(&site));
    jesse.deliver();
    receiver.expect(JESSE);
    let mut browser = Browser::start();
    browser.set_scripts(false);
    browser.open(&format!("http://{}/", address(&daemon)));
    let first = browser.evaluate("document.querySelector('.at time').dateTime");
    assert_eq!(browser.evaluate("document.querySelectorAll('.pushes tbody tr').length"), 1);
    assert_eq!(browser.evaluate("document.querySelectorAll('.plot use').length"), 1);
    assert_eq!(browser.evaluate("document.querySelector('.pushes time').innerText.endsWith('UTC')"), true);
    assert!(first.as_str().is_some_and(|time| time.ends_with('Z')));
    browser.wait_for(&format!("document.querySelector('.at time')?.dateTime > {first}"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// As far as names of users may go.
#[test]
fn names_are_text_and_nothing_else() {
    let name = "<img src=x onerror=document.title=1>'\"&amp;<script>alert(1)</script>";
    let site = Site::new();
    let folder = site.maildir(JESSE);
    let missing = site.path("nowhere");
    let users = format!("{{ {name:?} = {:?}, \"<b>\" = {missing:?} }}", folder.root());
    let receiver = site.receiver();
    let config = config(&site).unset("mailboxes.mail-location").set_raw("mailboxes.users", &users);
    let daemon = site.start(&config);
    let to = address(&daemon);
    folder.deliver();
    receiver.expect(name);
    let mut browser = Browser::start();
    browser.open(&format!("http://{to}/"));
    assert_eq!(browser.evaluate("document.querySelector('.pushes bdi').textContent"), name);
    assert_eq!(
        browser.evaluate("document.querySelector('.plot title').textContent.startsWith('<img src=x')"),
        true
    );
    assert_eq!(browser.evaluate("document.querySelector('.troubles bdi').textContent"), "<b>");
    // And when the script puts it there.
    folder.deliver();
    receiver.expect(name);
    browser.wait_for("document.querySelectorAll('.pushes tbody tr').length === 2");
    assert_eq!(browser.evaluate("document.querySelectorAll('img, main script, main b').length"), 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let status: Value = serde_json::from_str(&get(to, "/status.json").body).expect("it is JSON");
    assert_eq!(status["pushes"][0]["user"], name);
    daemon.stop();
}

#[test]
fn trouble_is_seen_in_words_and_everything_fits_on_a_phone() {
    let site = Site::new();
    let jesse = site.maildir(JESSE);
    let jo = site.maildir(JO);
    let long = format!("{}@example.org", "a-name-that-goes-on-".repeat(4));
    let other = site.maildir(&long);
    let elsewhere = site.path("elsewhere");
    fs::rename(jo.path("new"), &elsewhere).expect("it can be moved");
    std::os::unix::fs::symlink(&elsewhere, jo.path("new")).expect("a link can be made");
    let receiver = site.receiver();
    let daemon = site.start(&config(&site));
    let to = address(&daemon);
    for maildir in [&jesse, &other] {
        maildir.deliver();
        receiver.next(crate::support::PATIENCE).expect("a push");
    }
    drop(receiver);
    let mut browser = Browser::start();
    browser.set_size(375, 800);
    browser.open(&format!("http://{to}/"));
    browser.wait_for("document.querySelector('h1').innerText === 'A mailbox cannot be watched'");
    browser.wait_for("document.querySelector('.troubles').innerText.includes('symbolic link')");
    browser.wait_for("document.title.startsWith('A mailbox cannot be watched')");
    jesse.deliver();
    browser.wait_for("document.querySelector('.lights .trouble .word')?.innerText === 'trouble'");
    browser.wait_for("document.querySelector('h1').innerText === '2 things are wrong'");
    let width = "document.documentElement.scrollWidth";
    assert_eq!(browser.evaluate(width), 375, "nothing is wider than the screen");
    let narrow = "Array.from(document.querySelectorAll('main *'))
        .filter((element) => element.getBoundingClientRect().right > 375.5)
        .map((element) => element.outerHTML.slice(0, 99))";
    assert_eq!(browser.evaluate(narrow), Value::Array(Vec::new()));
    browser.set_size(1280, 800);
    assert_eq!(browser.evaluate(width), 1280);

    // Words are read in the dark as well as in the light.
    for is_dark in [false, true] {
        browser.set_dark(is_dark);
        let least = browser.evaluate(CONTRAST);
        assert!(least[0].as_f64().is_some_and(|least| least >= 4.5), "dark: {is_dark}: {least}");
    }
    let ground = "getComputedStyle(document.body).backgroundColor";
    let dark = browser.evaluate(ground);
    browser.set_dark(false);
    assert_ne!(browser.evaluate(ground), dark);
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // What the page's policy forbids does not happen, and a complaint would be seen.
    browser.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">a</p>')");
    let complaints = browser.complaints();
    let [complaint] = &complaints[..] else { panic!("one complaint: {complaints:?}") };
    assert!(complaint.contains("Content Security Policy"), "{complaint}");
    assert_ne!(browser.evaluate("getComputedStyle(document.body.lastChild).color"), "rgb(255, 0, 0)");
    daemon.stop();
}

/// The least contrast (WCAG 2.2, 1.4.3) of any text with what is behind it, and that text.
const CONTRAST: &str = r"(() => {
  const parts = (colour) => (colour.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((parts(colour)[3] ?? 1) > 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  let least = [99, ''];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest('script, style, title, .shapes')) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(element.closest('svg') ? style.fill : style.color), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < least[0]) least = [contrast, node.data];
  }
  return least;
})()";
