//! Where the pusher finds devices, and tells what became of their pushes.

use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    mailbox::Username,
    registry::{
        Registration,
        change::Change,
        service::{NotStored, Registry},
    },
};

/// The registry, as far as the pusher knows it. A trait for the tests, whose clock does not wait for the registry's threads.
pub trait Devices: Send + 'static {
    /// The registrations of these users.
    fn of_users(&self, users: Vec<Username>) -> BoxFuture<'static, Result<Vec<Registration>, NotStored>>;

    /// Hands over what Apple answered, and does not wait until it is written.
    ///
    /// # Errors
    /// If there is too much to write already.
    fn submit(&self, change: Change) -> Result<(), NotStored>;
}

impl Devices for Registry {
    fn of_users(&self, users: Vec<Username>) -> BoxFuture<'static, Result<Vec<Registration>, NotStored>> {
        let registry = self.clone();
        async move { Registry::of_users(&registry, users).await }.boxed()
    }

    fn submit(&self, change: Change) -> Result<(), NotStored> {
        Self::submit(self, change)
    }
}
