//! h2load of nghttp2: a program in C that does nothing but make requests.

use std::{fs, process::Command, time::SystemTime};

use pushmaild::sink::apns::credential::{Credential, CredentialFiles};

use crate::{Result, device::TOPIC, simulator::Simulator, site::Site};

/// As the simulator has them.
const KEY_ID: &str = "ABC123DEFG";
const TEAM_ID: &str = "DEF123GHIJ";

/// Requests a second on one connection, each for another phone, with so many at a time. h2load has no client certificates, so it
/// brings a provider token, which is one byte in each request but the first.
pub(crate) fn measure(site: &Site, simulator: &Simulator, requests: u32, in_flight: u32) -> Result<f64> {
    let files = CredentialFiles::Token {
        key_file: simulator.folder.join("AuthKey.p8"),
        key_id: KEY_ID.to_owned(),
        team_id: TEAM_ID.to_owned(),
    };
    let authorization = Credential::load(&files)
        .map_err(|error| error.to_string())?
        .authorization(SystemTime::now())
        .ok_or("a key makes no token")?;
    let [urls, payload] = [site.file("urls"), site.file("payload")];
    fs::write(&urls, simulator.urls(requests))?;
    fs::write(&payload, format!(r#"{{"aps":{{"account-id":"{}"}}}}"#, crate::device::account(0)))?;
    let output = Command::new("h2load")
        .args(["-c", "1", "-t", "1", "-n", &requests.to_string(), "-m", &in_flight.to_string()])
        .arg("-d")
        .arg(&payload)
        .arg("-i")
        .arg(&urls)
        .args(["-H", &format!("authorization: {}", authorization.to_str()?)])
        .args(["-H", &format!("apns-topic: {TOPIC}")])
        .args(["-H", "apns-push-type: background", "-H", "apns-expiration: 1900000000"])
        .args(["-H", &format!("apns-collapse-id: {}", crate::device::account(0))])
        .output()
        .map_err(|error| format!("cannot run h2load: {error}\nhint: apt-get install nghttp2-client"))?;
    let text = String::from_utf8(output.stdout)?;
    if !text.contains(&format!("status codes: {requests} 2xx")) {
        return Err(format!("h2load: {text}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    // `finished in 1.23s, 40650.41 req/s, 2.00MB/s`
    let rate = text.split(" req/s").next().and_then(|before| before.rsplit(", ").next());
    Ok(rate.ok_or("h2load tells no rate")?.parse()?)
}
