//! A key frame made from the mirror: for who begins to read in the middle, also while the loop is stuck.

use std::collections::BTreeSet;

use crate::mirror::Mirror;
use crate::record::{Move, On, Record, SiteRef, StackRef, Str, TaskState};

/// Gives the records that rebuild `mirror`. What is defined has the numbers it had, so that the records that
/// come after can be given on as they are.
///
/// ```
/// use trapline_trace::{Mirror, Record, key_frame};
///
/// let mut mirror = Mirror::new();
/// mirror.apply(&Record::Reset { step: 7, at_nanos: 0, missed_steps: 0 })?;
/// let mut again = Mirror::new();
/// key_frame(&mirror, &mut |record| again.apply(record).expect("it makes sense"));
/// assert_eq!(again.text(), mirror.text());
/// # Ok::<(), trapline_trace::MirrorError>(())
/// ```
pub fn key_frame(mirror: &Mirror, give: &mut impl FnMut(&Record)) {
    give(&Record::Reset { step: mirror.step(), at_nanos: mirror.clock_nanos(), missed_steps: 0 });
    definitions(mirror, give);
    tasks(mirror, give);
    objects(mirror, give);
    calls(mirror, give);
}

fn definitions(mirror: &Mirror, give: &mut impl FnMut(&Record)) {
    let tables = mirror.tables();
    for string in 0..tables.strings() {
        give(&Record::DefineString(tables.str(Str(string as u32)).to_owned()));
    }
    for site in 0..tables.sites() {
        if let Some((file, line, column)) = tables.site_parts(SiteRef(site as u32)) {
            give(&Record::DefineSite { file, line, column });
        }
    }
    for stack in 1..=tables.stacks() {
        if let Some((site, around)) = tables.frame(StackRef(stack as u32)) {
            give(&Record::DefineStack { site, around });
        }
    }
}

fn tasks(mirror: &Mirror, give: &mut impl FnMut(&Record)) {
    let others = mirror.tasks().filter(|task| task.state != TaskState::Ready).map(|task| task.id);
    for id in others.chain(mirror.ready()) {
        let Some(task) = mirror.task(id) else { continue };
        give(&Record::Move(Move::TaskBorn {
            task: id,
            parent: task.parent,
            name: task.name,
            site: task.site,
            daemon: task.daemon,
            state: task.state,
            dispatches: task.dispatches,
        }));
    }
}

fn objects(mirror: &Mirror, give: &mut impl FnMut(&Record)) {
    for object in mirror.objects() {
        let (kind, name, site) = (object.kind, object.name, object.site);
        give(&Record::Move(Move::ObjectBorn { object: object.id, kind, name, site }));
        for (field, value) in &object.fields {
            let value = value.clone();
            give(&Record::Move(Move::FieldSet { object: object.id, field: *field, value }));
        }
    }
}

fn calls(mirror: &Mirror, give: &mut impl FnMut(&Record)) {
    // A call of nobody is begun by somebody, and then booked.
    let anybody = mirror.tasks().next().map(|task| task.id);
    let mut things = BTreeSet::new();
    for call in mirror.calls() {
        let owner = call.task.filter(|task| mirror.task(*task).is_some());
        let Some(task) = owner.or(anybody) else { continue };
        give(&Record::Move(Move::CallBegun {
            call: call.id,
            task,
            what: call.what,
            argument: call.argument.clone(),
            site: call.site,
            stack: call.stack,
        }));
        match call.on {
            Some(On::Object { object, .. }) => {
                things.insert(object);
            }
            Some(on) => give(&Record::Move(Move::CallBlocked { call: call.id, on })),
            None => {}
        }
        if owner.is_none() {
            give(&Record::Move(Move::CallBooked { call: call.id, task: None }));
        }
    }
    // Those that wait for one thing, in their order.
    for call in things.iter().flat_map(|object| mirror.waiting(*object)) {
        if let Some(on) = call.on.filter(|_| anybody.is_some()) {
            give(&Record::Move(Move::CallBlocked { call: call.id, on }));
        }
    }
}
