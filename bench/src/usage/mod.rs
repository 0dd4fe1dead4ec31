//! What a process costs the machine beside time: CPU, faults, context switches, system calls, bytes, memory, and what
//! its disk did meanwhile.
//!
//! [`Usage::now`] before and after, and [`Usage::since`] between them. Every figure is the kernel's own; what a kernel
//! does not offer or permit is `None` and not zero.

mod calls;
mod disk;
mod faults;
mod mounts;
mod proc_files;
mod process;
mod room;
mod sys;

pub(crate) use faults::ThreadFaults;
pub(crate) use mounts::Mount;
pub(crate) use proc_files::kib_field;
pub(crate) use room::free_space;

pub use calls::{SystemCalls, count_system_calls};
pub use disk::{Disk, NoDisk, Transfers};
pub use proc_files::{Io, Resident, reset_peak};
pub use process::{Usage, resident};
