// Questions: why a task does not run, and what comes next.

import { causeName, clockName, onName, ordinal, several, short, siteName, taskName } from './names.js';
import { sceneAt } from './scene.js';
import { told } from './telling.js';

/** Why is it not running? In a sentence or two. */
export function why(history, scene, task) {
  const name = taskName(task, history);
  if (!scene.now.tasks.has(task)) {
    return `${name} ${absent(history, scene.step, task)}.`;
  }
  return `${name} ${because(history, scene, task, new Set([task]))}.`;
}

/** Where a task is that is not there, as the end of a sentence. */
function absent(history, step, task) {
  if (history.whoRan(step) === task) return 'has just ended';
  const [last, first] = [history.previousOf(task, step + 1), history.nextOf(task, step)];
  if (last !== undefined) return `has ended; it ran for the last time in step ${last}`;
  return first === undefined ? 'is not there' : `is not born yet; it runs for the first time in step ${first}`;
}

/** What a task does, as the end of a sentence. */
function because(history, scene, task, seen) {
  const { now } = scene;
  const found = now.tasks.get(task);
  if (!found) return 'has ended';
  if (found.state === 'running') return 'runs';
  if (found.state === 'ready') return whyReady(scene, found);
  const calls = now.blockedCalls(task);
  if (calls.length === 0) return 'waits until somebody calls its waker: it has no call of its own in flight';
  if (calls.length === 1) return whyWaiting(history, scene, calls[0], seen);
  const reasons = calls.slice(0, 4).map(({ on }) => reason(history, scene, on));
  const more = calls.length > 4 ? ` or one of ${calls.length - 4} more` : '';
  return `waits for whichever comes first: ${reasons.join('; or ')}${more}`;
}

function whyReady({ now }, { id, wokenBy, wokenStep }) {
  const queue = now.ready();
  const place = queue.indexOf(id);
  let turn = `is ready, and stands ${ordinal(place + 1)} in the queue, behind ${several(queue.slice(0, place))}`;
  if (place === 0) {
    turn = now.running === undefined ? 'is first in the ready queue: it runs next'
      : `is first in the ready queue, and waits only for T${now.running} to come to rest`;
  }
  return wokenBy ? `${turn}; ${causeName(wokenBy, now)} woke it in step ${wokenStep}` : turn;
}

/** "waits for mutex `fork2` (phil.rs:41), held by T3 since step 96 (phil.rs:40), which …" */
function whyWaiting(history, scene, { on, site }, seen) {
  const { now } = scene;
  const at = siteName(site, now);
  if (on.for === 'deadline') return `sleeps until ${clockName(on.time)} (${at})`;
  if (on.for === 'exit') {
    return `waits for the end of T${on.task} (${at}), which ${whyNext(history, scene, on.task, seen)}`;
  }
  const holder = holderOf(now, on);
  const waits = `waits for ${reason(history, scene, on, at)}`;
  return holder ? `${waits}, which ${whyNext(history, scene, holder.task, seen)}` : waits;
}

/** What is waited for, from which line if that is to be said, and who holds it. */
function reason(history, { now, step }, on, at) {
  let text = onName(on, now);
  if (at) text += text.endsWith(')') ? ` at ${at}` : ` (${at})`;
  const holder = holderOf(now, on);
  if (!holder) return text;
  const taken = siteName(holder.since, now);
  const since = history.heldSince(on.object, holder.task, step);
  return `${text}, held by T${holder.task} since ${since === undefined ? taken : `step ${since} (${taken})`}`;
}

function holderOf(now, on) {
  const holder = on.for === 'object' ? now.field(on.object, 'holder') : undefined;
  return holder?.is === 'held' && holder.task !== undefined ? holder : undefined;
}

/** What becomes of whoever is waited for; a circle is named as one. */
function whyNext(history, scene, task, seen) {
  if (!seen.has(task)) {
    seen.add(task);
    return because(history, scene, task, seen);
  }
  const closed = history.cycleOf(task, scene.step);
  return closed ? `is where we began: a cycle, which closed in step ${closed.step}` : 'is where we began: a cycle';
}

const CANDIDATES = 4;

/** Counts first answers. */
export class Score {
  constructor() {
    this.answered = new Set();
    this.right = 0;
  }

  /** Takes an answer. Says what is right, and what the score is. */
  answer(question, answer) {
    const key = `${question.step} ${question.kind}`;
    const isRight = answer === question.right;
    if (!this.answered.has(key)) {
      this.answered.add(key);
      this.right += isRight ? 1 : 0;
    }
    const verdict = isRight ? 'Right' : 'No';
    return `${verdict}: ${question.answers[question.right]}. ${this.right} of ${this.answered.size} right so far.`;
  }
}

/** What can be asked after a step; undefined, if it is the last. */
export function questionAfter(recording, history, scene) {
  const step = recording.next(scene.step);
  if (step === undefined) return undefined;
  const before = scene.isWhole ? scene : sceneAt(recording, history, scene.step);
  const next = sceneAt(recording, history, step);
  const questions = [
    whoRuns(before, next), whatBecomes(recording, history, next), whoIsWoken(before, next),
  ].filter((question) => question !== undefined);
  // In turn, so that each is asked where a step allows several.
  return { ...questions[step % questions.length], step };
}

function whoRuns(before, next) {
  const { now } = before;
  const tasks = (now.running === undefined ? [] : [now.running]).concat(now.ready());
  const ran = next.end === 0 ? next.task : undefined;
  const from = { step: before.step };
  return candidates('who runs', from, 'Who runs next?', tasks, ran, 'nobody: the loop looks outside, or ends');
}

/** Asked from where the task has trapped, and the call has not been served. */
function whatBecomes(recording, history, next) {
  const begun = next.records.find(({ kind }, at) => at >= next.prelude && kind === 'begun');
  const fates = ['answered', 'blocked', 'withdrawn'];
  const fate = next.records.find(({ kind, call }) => call === begun?.call && fates.includes(kind));
  const trap = next.beats.findIndex(({ phase }) => phase === 'trap');
  if (!begun || !fate || trap < 0) return undefined;
  const from = { step: next.step, phases: trap + 1 };
  const asked = told(history, sceneAt(recording, history, from.step, from.phases)).join(' ');
  const answers = ['it is answered at once', 'it has to wait', 'it is dropped'];
  const { start, end } = next.beats[trap];
  const isOne = next.records.slice(start, end).filter(({ kind }) => kind === 'begun').length === 1;
  const text = `${asked} What becomes of ${isOne ? 'this call' : 'the first of these calls'}?`;
  return { kind: 'what becomes', from, text, answers, right: fates.indexOf(fate.kind) };
}

function whoIsWoken(before, next) {
  const woken = next.records.find(({ kind }, at) => at >= next.prelude && kind === 'ready');
  const blocked = [...before.now.tasks.values()].filter(({ state }) => state === 'blocked').map(({ id }) => id);
  if (blocked.length === 0) return undefined;
  const who = next.task === undefined ? 'In the next step the loop looks at the outside.'
    : `T${next.task} runs in the next step.`;
  const from = { step: before.step };
  return candidates('who is woken', from, `${who} Who is woken first?`, blocked, woken?.task, 'nobody');
}

/** A question for one of a few tasks, the right one among them. */
function candidates(kind, from, text, tasks, right, nobody) {
  const others = tasks.filter((task) => task !== right);
  const chosen = (right === undefined ? others : [right, ...others]).slice(0, CANDIDATES);
  chosen.sort((a, b) => (a < b ? -1 : 1));
  const at = chosen.indexOf(right);
  const answers = [...chosen.map(short), nobody];
  return { kind, from, text, answers, right: right === undefined ? answers.length - 1 : at };
}
