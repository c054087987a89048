//! The command line.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::DEFAULT_PATH,
    mailbox::{Username, UsernameError},
    registry::{AccountId, DeviceToken, Topic},
};

/// Makes iPhones look at their mail: for new mail, and when mail is read, flagged or deleted elsewhere.
#[derive(Debug, Parser)]
#[command(
    name = "pushmaild",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "`check` before the start, `status` while it runs, `doctor USER` when somebody gets no push."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    #[command(
        after_help = "Signals: SIGTERM and SIGINT push what is pending and stop; SIGHUP reloads the configuration.\n\
                            Environment: PUSHMAILD_LOG sets the log filter, for example `debug` or `pushmaild=trace`."
    )]
    Run(ConfigArgs),
    /// Say whether the configuration is right, and whether it will work here
    Check {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// List the users with their Maildirs, as the daemon would see them
    Users {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Push to users now, through the push_notify socket
    Send {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// The users
        #[arg(required = true, value_name = "USER")]
        users: Vec<String>,
    },
    /// Push to each of a user's devices now, through Apple, and print the answers
    Push {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// The user
        #[arg(value_name = "USER")]
        user: String,
    },
    /// Show how the running daemon is
    #[command(after_help = "The exit status is 1 if no daemon answers, or if it is in trouble.")]
    Status {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON document with every user; with --watch one object a line, without users
        #[arg(long)]
        json: bool,
        /// Refresh it every second
        #[arg(long)]
        watch: bool,
    },
    /// Say why a user gets no push: test each link of the chain
    #[command(
        after_help = "Each link is tested by itself: the map, the Maildir, the daemon and what it watches, what waits, the sinks, \
                            the user's devices, the credential, and Apple. Nothing is written into a Maildir, and no phone is pushed. \
                            The exit status is 1 if a link is broken."
    )]
    Doctor {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// The user; without one, everything that is about all users is tested
        #[arg(value_name = "USER", value_parser = username)]
        user: Option<Username>,
    },
    /// Bind a push_notify socket and print what arrives
    Listen(ListenArgs),
    /// Show and change the registry: which devices are pushed to
    #[command(after_help = "A running daemon notices every change within a second.")]
    Devices {
        /// What to do.
        #[command(subcommand)]
        command: DevicesCommand,
    },
}

/// What can be done with the registry.
#[derive(Debug, Subcommand)]
pub enum DevicesCommand {
    /// List the devices, all or those of a user
    List(ListDevicesArgs),
    /// Register a device
    Add(AddDeviceArgs),
    /// Remove the devices of a user, all or some
    Remove(RemoveDevicesArgs),
    /// Take over the devices that another push daemon knows
    #[command(
        after_help = "What a device has said since stays as it is, so the same import again changes nothing."
    )]
    Import(ImportDevicesArgs),
    /// Make a copy of the registry, also while the daemon runs
    Backup {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// The copy; nothing may be there yet
        file: PathBuf,
    },
    /// Remove all devices of a user and take no more
    OptOut {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Who wants no pushes
        #[arg(value_parser = username)]
        user: Username,
    },
    /// Take devices of a user again
    OptIn {
        /// The configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Who wants pushes again
        #[arg(value_parser = username)]
        user: Username,
    },
}

/// What `devices list` is told.
#[derive(Args, Debug)]
pub struct ListDevicesArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Only devices of this user
    #[arg(value_parser = username)]
    pub user: Option<Username>,
    /// Print one JSON document, with all that is known of a device
    #[arg(long)]
    pub json: bool,
    /// Show the device tokens whole; whoever has them and the credential can push
    #[arg(long)]
    pub tokens: bool,
}

/// What `devices add` is told.
#[derive(Args, Debug)]
pub struct AddDeviceArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Whose mail the device wants to hear of
    #[arg(value_parser = username)]
    pub user: Username,
    /// The device token, in hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub token: DeviceToken,
    /// The aps-account-id
    #[arg(long, value_name = "ID")]
    pub account: AccountId,
    /// The topic that the phone was told; default: the last one that is known
    #[arg(long)]
    pub topic: Option<Topic>,
    /// The aps-subtopic
    #[arg(long, default_value = "com.apple.mobilemail")]
    pub subtopic: String,
    /// A mailbox that the phone asked for; may be repeated
    #[arg(long = "mailbox", value_name = "NAME")]
    pub mailboxes: Vec<String>,
    /// A mailbox beside INBOX that the phone was told it would hear of; may be repeated
    #[arg(long, value_name = "NAME")]
    pub acknowledged: Vec<String>,
}

/// What `devices remove` is told.
#[derive(Args, Debug)]
pub struct RemoveDevicesArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Whose devices
    #[arg(value_parser = username)]
    pub user: Username,
    /// Only the device with this token
    #[arg(long, value_name = "HEX")]
    pub token: Option<DeviceToken>,
    /// Only registrations with this aps-account-id
    #[arg(long, value_name = "ID")]
    pub account: Option<AccountId>,
}

/// What `devices import` is told.
#[derive(Args, Debug)]
pub struct ImportDevicesArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// xapsd's database.json, pushnotify's devices, OS X Server's guid_device_maps.plist, or redis://HOST for push_notify
    #[arg(value_name = "FILE|redis://…")]
    pub store: OsString,
    /// The topic that these phones were told; default: the last one that is known
    #[arg(long)]
    pub topic: Option<Topic>,
    /// Lines `user: GUID`, for a store that has GUIDs in place of names; `user: /path/to/GUID` is as good
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

fn username(name: &str) -> Result<Username, UsernameError> {
    Username::new(name)
}

/// Which configuration.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
}

/// What `listen` is told.
#[derive(Args, Debug)]
pub struct ListenArgs {
    /// The path to bind; a stale socket there is replaced
    pub socket: PathBuf,
    /// Listen on a stream socket, for the dialect `argon`
    #[arg(long)]
    pub stream: bool,
    /// Print one JSON object for each record
    #[arg(long)]
    pub json: bool,
}
