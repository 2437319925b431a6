//! Pipelines that part, and come together.

use std::panic::Location;
use std::rc::Rc;

use crate::pattern::part::Part;
use crate::pattern::pipeline::{Pipeline, State};
use crate::pattern::stage::{Inlet, Outlet, StageEnd, Unwanted, link};

/// Who of several gets the next item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deal {
    /// One after the other, in turn. One that is slow holds up the others.
    RoundRobin,
    /// Whoever takes it first.
    WhoeverIsFree,
}

impl<T: 'static> Pipeline<T> {
    /// Parts it into so many pipelines, each of which gets some of the items: `deal` says which.
    ///
    /// Each of them has room for `buffer` items, or all together, if whoever is free takes one. If one is
    /// dropped it takes with it what lay in its own buffer, and what comes later goes to the others; when
    /// all are, the stages before are killed.
    ///
    /// ```
    /// # let mut scheduler = trapline_scheduler::Scheduler::new();
    /// # scheduler.block_on(async { use trapline_syscalls as trapline;
    /// use futures::stream;
    /// use trapline::pattern::{Deal, merge, pipeline};
    ///
    /// let mut lanes = pipeline(stream::iter(1..=4)).fan_out(2, 4, Deal::RoundRobin).into_iter();
    /// let odd = lanes.next().unwrap().stage(4, async |n| format!("{n} is odd"));
    /// let even = lanes.next().unwrap().stage(4, async |n| format!("{n} is even"));
    /// let mut all = merge([odd, even], 4).collect().await.unwrap();
    /// all.sort();
    /// assert_eq!(all, ["1 is odd", "2 is even", "3 is odd", "4 is even"]);
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// If there are no lanes.
    #[track_caller]
    pub fn fan_out(self, lanes: usize, buffer: usize, deal: Deal) -> Vec<Pipeline<T>> {
        assert!(lanes > 0, "items go somewhere");
        let site = Location::caller();
        let (outlets, inlets): (Vec<_>, Vec<_>) = match deal {
            Deal::RoundRobin => (0..lanes).map(|_| link(buffer, site)).unzip(),
            Deal::WhoeverIsFree => {
                let (outlet, inlet) = link(buffer, site);
                (vec![outlet], vec![inlet; lanes])
            }
        };
        let part = Part::new(site);
        let body = deal_out(self.inlet, outlets.clone(), site);
        part.add("fan out".into(), site, outlets, body);
        let mut parts = self.parts;
        parts.push(part);
        let stages = self.stages;
        inlets
            .into_iter()
            .map(|inlet| {
                let parts = parts.clone();
                Pipeline { parts, inlet, stages, site, state: State::Idle }
            })
            .collect()
    }
}

/// Brings pipelines together: what comes out of any of them comes out, in the order of arrival.
///
/// It ends when all have ended. When one fails, so does it, and the others are killed when it is
/// dropped.
///
/// ```
/// # let mut scheduler = trapline_scheduler::Scheduler::builder().virtual_clock().build();
/// # scheduler.block_on(async { use trapline_syscalls as trapline;
/// use futures::stream;
/// use trapline::pattern::{merge, pipeline};
///
/// let both = merge([pipeline(stream::iter([1, 2])), pipeline(stream::iter([3, 4]))], 4);
/// let mut items = both.collect().await.unwrap();
/// items.sort();
/// assert_eq!(items, [1, 2, 3, 4]);
/// # }).unwrap();
/// ```
///
/// # Kin
/// `futures::stream::select_all`, which polls all in one task.
#[track_caller]
pub fn merge<T: 'static>(
    pipelines: impl IntoIterator<Item = Pipeline<T>>,
    buffer: usize,
) -> Pipeline<T> {
    let site = Location::caller();
    let (outlet, inlet) = link(buffer, site);
    let part = Part::new(site);
    let (mut parts, mut stages) = (Vec::new(), 0);
    for pipeline in pipelines {
        let body = pass_on(pipeline.inlet, outlet.clone(), site);
        part.add("merge".into(), site, vec![outlet.clone()], body);
        stages = stages.max(pipeline.stages);
        for part in pipeline.parts {
            // Those that were parted before come with the same parts.
            if !parts.iter().any(|known| Rc::ptr_eq(known, &part)) {
                parts.push(part);
            }
        }
    }
    parts.push(part);
    Pipeline { parts, inlet, stages, site, state: State::Idle }
}

/// Passes each item to the next who still takes any.
async fn deal_out<T>(
    inlet: Inlet<T>,
    mut outlets: Vec<Outlet<T>>,
    site: &'static Location<'static>,
) -> Result<(), StageEnd> {
    let mut next = 0;
    while let Some(item) = inlet.next(site).await.map_err(StageEnd::Upstream)? {
        let mut item = item;
        loop {
            if outlets.is_empty() {
                return Ok(());
            }
            next %= outlets.len();
            match outlets[next].put(item, site).await {
                Ok(()) => break,
                Err(Unwanted(back)) => {
                    item = back;
                    drop(outlets.remove(next));
                }
            }
        }
        next += 1;
    }
    Ok(())
}

async fn pass_on<T>(
    inlet: Inlet<T>,
    outlet: Outlet<T>,
    site: &'static Location<'static>,
) -> Result<(), StageEnd> {
    while let Some(item) = inlet.next(site).await.map_err(StageEnd::Upstream)? {
        if outlet.put(item, site).await.is_err() {
            break;
        }
    }
    Ok(())
}
