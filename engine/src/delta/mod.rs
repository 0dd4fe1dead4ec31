//! The delta: what has been committed since the last checkpoint, as pages on the heap.
//!
//! A word that names a delta page names its descriptor in the [`Slab`]: the page's [`Image`], and its *home*, the
//! place on file that a checkpoint or a spill has given it. Walks through the delta are protected by an
//! [`EpochGuard`].

mod epoch;
mod frames;
mod image;
mod slab;
mod spares;

pub(crate) use epoch::EpochGuard;
use frames::{Frame, Frames};
pub(crate) use image::Image;
pub(crate) use slab::{Entry, Slab, SlabWriter};
use spares::{Spares, Stock};
