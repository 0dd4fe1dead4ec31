//! Pages of the delta that only live snapshots still see: a checkpoint writes them too, if they are many.
//!
//! A page that a commit replaced stays in memory as long as an older snapshot may come to it. With many snapshots stuck
//! at different commits that could be a delta for each of them. So at a checkpoint such pages get a place on file as
//! well. It is in use only in memory: no checkpoint refers to it, a crash forgets it, and it is free again when the last
//! snapshot that sees the page ends.
#![forbid(unsafe_code)]

use super::stages::{Batch, Homes, Places, write_value_at};
use crate::db::shared::Shared;
use crate::delta::Image;
use crate::error::{Error, Result};
use crate::extent::pages_for;
use crate::free::{Grant, Run, Use};
use crate::node::Node;
use crate::txn::writer::Writer;
use bifold_page_source::{PageId, PageSource};
use std::collections::HashSet;
use std::sync::Arc;

/// Pages that get their places in one step.
const PAGES_PER_STEP: usize = 512;

/// The part of the delta's bound, as a divisor, that such pages may take before they are written.
const SHARE: u64 = 8;

/// Where the checkpoint stands with them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// All to be written, children before parents; `None` until they are collected.
    ids: Option<Vec<u32>>,
    /// How many have a place.
    placed: usize,
    /// The nodes that are to be written next, and where.
    nodes: (Vec<u32>, Places),
    /// The values that are to be written next, and where.
    values: Vec<(u32, Run)>,
    buffer: Vec<u8>,
}

impl Kept {
    /// Gives the next pages their places; `false` if there are none left, or no room for more.
    pub(super) fn take<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        writer: &mut Writer,
        image: &dyn Fn(u32) -> Result<Arc<Image>>,
    ) -> Result<bool> {
        if self.ids.is_none() {
            writer.sweep_retired(&shared.store.slab, &shared.registry, true)?;
            self.ids = Some(collect(shared, writer, image)?);
        }
        let ids = self.ids.as_deref().unwrap_or_default();
        let next: Vec<u32> = ids.iter().skip(self.placed).take(PAGES_PER_STEP).copied().collect();
        if next.is_empty() {
            return Ok(false);
        }
        self.placed += next.len();
        // Readers end between the steps, and then what they saw is gone, and its descriptors may be another page's. Whoever
        // sees a page sees what is below it: so none stays without its children.
        let still: HashSet<u32> = writer.kept_for_readers(&shared.store.slab).into_iter().collect();
        let now: Vec<u32> = next.into_iter().filter(|id| still.contains(id)).collect();
        // Values have no level and come first.
        let (values, nodes): (Vec<u32>, Vec<u32>) =
            now.iter().partition(|&&id| writer.descriptors.places(id) != 1);
        let Some((places, runs)) = take_places(shared, writer, nodes.len() as u64, &values)? else {
            tracing::debug!("no room on the disk for pages that only readers see: they stay in memory");
            return Ok(false);
        };
        let pages = places.iter().flat_map(|run| run.start..run.end()).map(|page| Run::new(page, 1));
        let pairs = nodes.iter().copied().zip(pages).chain(values.iter().copied().zip(runs.iter().copied()));
        writer.keep_at(&pairs.collect());
        self.nodes = (nodes, Places::new(places));
        self.values = values.into_iter().zip(runs).collect();
        Ok(true)
    }

    /// Writes what has got its place.
    pub(super) fn write<S: PageSource>(
        &mut self,
        shared: &Shared<S>,
        homes: &mut Homes,
        birth: u64,
        image: &dyn Fn(u32) -> Result<Arc<Image>>,
    ) -> Result<()> {
        for (id, run) in std::mem::take(&mut self.values) {
            let first = PageId::new(run.start).ok_or(Error::Internal("a place beyond the largest page"))?;
            let home = write_value_at(shared, first, birth, image(id)?.bytes())?;
            homes.set(id, home.bits());
        }
        let (ids, mut places) = std::mem::take(&mut self.nodes);
        let mut done = 0;
        while done < ids.len() {
            let batch = Batch { shared, homes, buffer: &mut self.buffer, image };
            done += batch.write(&ids[done..], &mut |_| places.next())?;
        }
        Ok(())
    }
}

/// The pages that only readers see, children before their parents; none if they are few.
fn collect<S: PageSource>(
    shared: &Shared<S>,
    writer: &Writer,
    image: &dyn Fn(u32) -> Result<Arc<Image>>,
) -> Result<Vec<u32>> {
    let ids = writer.kept_for_readers(&shared.store.slab);
    if writer.sum(&ids).bytes <= shared.limits.delta_bytes / SHARE {
        return Ok(Vec::new());
    }
    let mut by_level = Vec::with_capacity(ids.len());
    for id in ids {
        let level = if writer.descriptors.places(id) == 1 {
            let image = image(id)?;
            1 + u32::from(Node::delta(image.bytes(), image.words()).level())
        } else {
            0
        };
        by_level.push((level, id));
    }
    by_level.sort_unstable();
    Ok(by_level.into_iter().map(|(_, id)| id).collect())
}

/// Places for so many nodes and for each of the values, and the file long enough; `None` if the disk has no room.
fn take_places<S: PageSource>(
    shared: &Shared<S>,
    writer: &mut Writer,
    nodes: u64,
    values: &[u32],
) -> Result<Option<(Vec<Run>, Vec<Run>)>> {
    let lens: Vec<u64> = values.iter().map(|id| writer.descriptors.bytes(*id)).collect();
    // What commits have set aside for the next checkpoint is not to be had.
    if !writer.can_spare(shared, nodes, writer.sum(values).values)? {
        return Ok(None);
    }
    let space = writer.space()?;
    let mut grants: Vec<Grant> = vec![space.allocate(nodes, Use::Early)?];
    for len in lens {
        let (header, data) = pages_for(len, shared.store.page_size);
        grants.push(space.allocate_contiguous(header + data, Use::Early)?);
    }
    if let Err(error) = shared.grow_file(space.end()) {
        for grant in grants.iter().rev() {
            space.revoke(grant)?;
        }
        return if matches!(error, Error::DiskFull { .. }) { Ok(None) } else { Err(error) };
    }
    let mut runs = grants.into_iter().map(|grant| grant.runs);
    let nodes = runs.next().unwrap_or_default();
    Ok(Some((nodes, runs.filter_map(|runs| runs.first().copied()).collect())))
}
