//! Letting clients in, so many at a time.

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::sleep};

/// When `accept` fails, there is no file descriptor left.
const NO_DESCRIPTOR: Duration = Duration::from_secs(1);

/// Serves clients, each in a task of its own, until it is dropped. Those for whom there is no place wait in the kernel.
pub(super) async fn let_in<S, F>(
    places: usize,
    accept: impl AsyncFn() -> io::Result<S>,
    serve: impl Fn(S) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(places));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok(stream) = accept().await else {
            sleep(NO_DESCRIPTOR).await;
            continue;
        };
        let served = serve(stream);
        tokio::spawn(async move {
            served.await;
            drop(place);
        });
    }
}
