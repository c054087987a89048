//! The command line.

use std::{
    net::{AddrParseError, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Parser;

/// A simulator of Apple's push service (APNs).
#[derive(Debug, Parser)]
#[command(name = "apns-simulator", max_term_width = 100, after_help = EXAMPLE)]
pub(crate) struct Options {
    /// Where the credentials and the control socket are; made if needed
    #[arg(long, value_name = "DIR", default_value = "apns-simulator")]
    pub(crate) dir: PathBuf,
    /// The address to listen on, of the loopback interface; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", value_parser = loopback)]
    pub(crate) listen: SocketAddr,
    /// The topic of the certificate
    #[arg(long, value_name = "TOPIC", default_value = "com.apple.mobilemail.push.example")]
    pub(crate) topic: String,
    /// How many streams a connection may have at a time
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) streams: u32,
    /// How long a connection has to stay with one provider token
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = humantime::parse_duration)]
    pub(crate) token_interval: Duration,
    /// Print nothing about requests, for benchmarks
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Give a command to the simulator that runs in DIR, print its answer, and end
    #[arg(long, value_name = "COMMAND")]
    pub(crate) tell: Option<String>,
}

const EXAMPLE: &str = "\
Example, with the simulator in one terminal:
  $ cargo run --example apns-simulator -- --dir /tmp/apns --listen 127.0.0.1:8443
and a push, then an outage, from another:
  $ curl --http2 --cacert /tmp/apns/ca.pem --cert /tmp/apns/client.pem \\
      -d '{\"aps\":{\"account-id\":\"1\"}}' https://127.0.0.1:8443/3/device/00aabb
  $ cargo run --example apns-simulator -- --dir /tmp/apns --tell 'answer 503 ServiceUnavailable count 5'
The commands are listed by any that is unknown: --tell help

In DIR:
  ca.pem              who signed the server's certificate and all others; ca-key.pem signs more of them
  client.pem          certificate and key for the topic, as Apple issues them
  several-topics.pem  a certificate that lists more topics: TOPIC.voip and TOPIC.complication
  other-topic.pem     for com.example.other        sandbox-only.pem  not for this, the production service
  expired.pem         since yesterday              no-topic.pem      not a push certificate at all
  AuthKey.p8          the key for provider tokens; its key id and team id are printed at the start
  control             the socket for commands: a line in, a line of JSON out";

/// Refuses what other machines could reach: whoever has the credentials may order faults.
fn loopback(argument: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = argument.parse().map_err(|error: AddrParseError| error.to_string())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("only addresses of the loopback interface are allowed".to_owned())
    }
}
