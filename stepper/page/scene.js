// What is to be seen at a place: a step, and how far it has come.

import { Mirror } from './mirror.js';

export const PHASES = ['outside', 'pick', 'resume', 'trap', 'serve', 'settle'];

const DEFINITIONS = new Set(['string', 'site', 'stack', 'property', 'source']);
const REBUILDS = new Set(['reset', 'born', 'object', 'set', 'blocked']);

/** How many of a step's records rebuild the state, before the step itself begins. */
export function preludeOf(records) {
  if (records[0]?.kind !== 'reset') return 0;
  const waits = (from) => {
    let at = from;
    while (at < records.length && DEFINITIONS.has(records[at].kind)) at++;
    return records[at]?.kind === 'blocked';
  };
  const rebuilds = ({ kind }, at) =>
    REBUILDS.has(kind) || DEFINITIONS.has(kind) || (kind === 'begun' && waits(at + 1));
  const own = records.findIndex((record, at) => !rebuilds(record, at));
  return own < 0 ? records.length : own;
}

/** The phases of a step, in order; what comes before `prelude` is no part of it. */
export function beatsOf(records, prelude) {
  const taken = records.findIndex(({ kind }, at) => at >= prelude && kind === 'taken');
  const last = records.at(-1);
  const hasRun = last.kind === 'end' && last.how === 0;
  if (!hasRun && taken < 0) return [{ phase: 'outside', start: prelude, end: records.length }];
  // The task that goes on is picked, too, though nothing tells of it.
  const picked = taken < 0 ? prelude : taken + 1;
  const beats = [{ phase: 'pick', start: prelude, end: picked }];
  let [phase, start] = ['resume', picked];
  for (let at = picked; at < records.length; at++) {
    const next = phaseAfter(records, at, phase);
    if (next !== phase) {
      beats.push({ phase, start, end: at });
      [phase, start] = [next, at];
    }
  }
  beats.push({ phase, start, end: records.length });
  return beats;
}

function phaseAfter(records, at, phase) {
  const { kind } = records[at];
  const asks = kind === 'begun' || (kind === 'born' && isAskedFor(records, at + 1));
  if (asks && (phase === 'resume' || phase === 'serve')) return 'trap';
  if (kind === 'begun' && phase === 'trap') return 'trap';
  if (kind === 'rested' || kind === 'end') return 'settle';
  return phase === 'trap' && !DEFINITIONS.has(kind) ? 'serve' : phase;
}

/** Whether the call comes next that has asked for a task that is born. */
export function isAskedFor(records, from) {
  return records.find(({ kind }, at) => at >= from && !DEFINITIONS.has(kind))?.kind === 'begun';
}

/**
 * What is to be seen. `phases` of the step are over; all, if it is undefined. Where a program is held, what has been
 * done to it after its last step is seen, too.
 */
export function sceneAt(recording, history, step, phases, isHeld) {
  const found = step > recording.beginning ? recording.step(step) : undefined;
  if (!found) return opening(recording);
  const { records } = found;
  const prelude = preludeOf(records);
  const before = prelude > 0 ? new Mirror() : found.before ?? new Mirror();
  for (const record of records.slice(0, prelude)) before.apply(record);
  const beats = beatsOf(records, prelude);
  const over = Math.min(phases ?? beats.length, beats.length);
  const done = over > 0 ? beats[over - 1].end : prelude;
  const now = before.clone();
  for (const record of records.slice(prelude, done)) now.apply(record);
  const isWhole = over === beats.length;
  const phase = over > 0 ? beats[over - 1].phase : undefined;
  const task = before.running ?? history.whoRan(step);
  const end = records.at(-1).how;
  const tail = isHeld && isWhole && step === recording.last ? recording.tail : [];
  for (const record of tail) now.apply(record);
  return { step, tail, phases: isWhole ? undefined : over, before, now, records, prelude, beats, over, done, isWhole, phase, task, end };
}

/** Before the first step: what is known is what the recording begins with. */
function opening(recording) {
  const first = recording.segments[0]?.first;
  const records = first === undefined ? recording.tail : recording.step(first)?.records ?? [];
  const prelude = preludeOf(records);
  const tail = first === undefined ? records.slice(prelude) : [];
  const before = new Mirror();
  for (const record of records.slice(0, prelude)) before.apply(record);
  const now = before.clone();
  for (const record of tail) now.apply(record);
  return {
    step: recording.beginning, phases: undefined, tail, before, now, records: [], prelude: 0, beats: [], over: 0,
    done: 0, isWhole: true, phase: undefined, task: undefined, end: undefined,
  };
}
