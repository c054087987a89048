//! The daemon's life: signals, the service manager, and a second one beside it.

mod instance;
mod reload;
mod restart;
mod service_manager;
mod stop;
