//! The one place atomics and locks come from, so that loom can stand in for them.
//!
//! Built with `--cfg loom`, everything here is loom's; otherwise the standard library's and `parking_lot`'s.
//! Whoever uses it writes `Mutex::lock()` without a `Result`.
#![forbid(unsafe_code)]

#[cfg(not(loom))]
pub use parking_lot::{Condvar, Mutex, MutexGuard};
#[cfg(not(loom))]
pub use std::{
    sync::{Arc, atomic},
    thread,
};

#[cfg(loom)]
pub use loom::{
    sync::{Arc, atomic},
    thread,
};
#[cfg(loom)]
pub use loomed::{Condvar, Mutex, MutexGuard};

/// Loom's lock and condition variable with `parking_lot`'s signatures.
#[cfg(loom)]
mod loomed {
    pub use loom::sync::MutexGuard;

    /// Loom's mutex without poisoning.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A lock around `value`.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// Locks it.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }

    /// Loom's condition variable; `wait` takes the guard by reference and puts it back.
    #[derive(Debug, Default)]
    pub struct Condvar(loom::sync::Condvar);

    impl Condvar {
        /// A condition nobody waits for.
        pub fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        /// Waits, giving the lock away meanwhile.
        pub fn wait_owned<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        /// Wakes everyone.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}
