//! Bifold with one buffered `pread` and one copy for each page looked at: neither a map nor a cache of its own.
#![forbid(unsafe_code)]

use super::bifold::{Backend, Bifold};
use crate::Setup;
use crate::pread_source::PreadSource;

/// Bifold over plain reads.
pub type Pread = Bifold<PreadSource>;

impl Backend for PreadSource {
    const STORE: &'static str = "bifold-pread";

    /// Nothing of `setup` concerns it: the page cache is the kernel's.
    fn options(_setup: &Setup) {}
}
