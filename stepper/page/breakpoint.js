// Breakpoints: where going on, forward or back, is to stop.

import { place } from './names.js';
import { preludeOf } from './scene.js';

export const FORMS = 'task ID, call WORD, object NAME, line FILE:LINE, outcome WORD, woken > N';

const OUTCOMES = [
  'answered', 'blocked', 'withdrawn', 'returned', 'panicked', 'killed', 'cancelled', 'outside', 'deadlock', 'finished',
];

/** Reads one, and gives it with the text that reads as it. What is none is thrown. */
export function parseBreakpoint(text) {
  const unknown = () => new Error(`"${text}" is none of: ${FORMS}`);
  const [, word, rest] = /^(\S+)\s+(.+)$/.exec(text.trim()) ?? [];
  const number = (text) => {
    const [, digits] = /^T*(\d+)$/.exec(text.trim()) ?? [];
    if (digits === undefined) throw unknown();
    return Number(digits);
  };
  switch (word) {
    case 'task': return make(`task ${number(rest)}`, { kind: word, task: number(rest) });
    case 'call': return make(`call ${rest}`, { kind: word, word: rest });
    case 'object': {
      const name = rest.replace(/^`+|`+$/g, '');
      return make(`object ${name}`, { kind: word, name });
    }
    case 'line': {
      const [, file, line] = /^(.+):(\d+)$/.exec(rest) ?? [];
      if (file === undefined) throw unknown();
      return make(`line ${file}:${line}`, { kind: word, file, line: Number(line) });
    }
    case 'outcome':
      if (!OUTCOMES.includes(rest)) throw new Error(`an outcome is one of: ${OUTCOMES.join(', ')}`);
      return make(`outcome ${rest}`, { kind: word, word: rest });
    case 'woken':
      if (!rest.startsWith('>')) throw unknown();
      return make(`woken > ${number(rest.slice(1))}`, { kind: word, more: number(rest.slice(1)) });
  }
  throw unknown();
}

function make(text, breakpoint) {
  return { ...breakpoint, text };
}

/** Whether a record meets a breakpoint. `mirror` is the state before it. */
function isMetBy(point, record, mirror) {
  switch (point.kind) {
    case 'task': return mirror.running === point.task;
    case 'call': return record.kind === 'begun' && mirror.tables.str(record.what) === point.word;
    case 'object': return isOf(record, point.name, mirror);
    case 'line': return record.kind === 'begun' && isAt(record, point, mirror);
    case 'outcome': return outcomeOf(record) === point.word;
  }
  return false;
}

function isOf(record, name, mirror) {
  const isAbout = ['set', 'done'].includes(record.kind) || (record.kind === 'blocked' && record.on.for === 'object');
  if (!isAbout) return false;
  const number = record.kind === 'blocked' ? record.on.object : record.object;
  const own = mirror.objects.get(number)?.name;
  return (own !== undefined && mirror.tables.str(own) === name) || `${number}` === name;
}

function isAt({ site, stack }, { file, line }, mirror) {
  const places = [mirror.tables.site(site), ...mirror.tables.stack(stack)];
  return places.some((at) => at.line === line && isFile(at.file, file));
}

/** A file may be named by the end of its path. */
function isFile(path, named) {
  return path === named || path.endsWith(`/${named}`);
}

function outcomeOf(record) {
  if (['answered', 'blocked', 'withdrawn'].includes(record.kind)) return record.kind;
  if (record.kind === 'ended') return record.how;
  return record.kind === 'end' ? { 1: 'outside', 2: 'finished', 3: 'deadlock' }[record.how] : undefined;
}

/** The breakpoint that a step meets, if there is one. */
function stepMeets(points, records, mirror, applyUntil) {
  const prelude = preludeOf(records);
  applyUntil(prelude);
  const woken = records.filter(({ kind }, at) => at >= prelude && kind === 'ready').length;
  let met = points.find(({ kind, more }) => kind === 'woken' && woken > more);
  for (let at = prelude; at < records.length && !met; at++) {
    met = points.find((point) => isMetBy(point, records[at], mirror));
    applyUntil(at + 1);
  }
  return met;
}

/** So many steps are looked at, at a time: the keys are to be heard in between. */
const WINDOW = 2048;

/** A search for a step that meets one of several breakpoints. */
export class Search {
  constructor(recording, points, step, isForward) {
    Object.assign(this, { recording, points, at: step, isForward, isOver: false, found: undefined });
  }

  /** Looks at some steps more. */
  advance() {
    const { recording } = this;
    const first = this.isForward ? this.at + 1 : Math.max(this.at - WINDOW, recording.beginning + 1);
    const last = this.isForward ? this.at + WINDOW : this.at - 1;
    recording.eachStep(first, last, (step, records, mirror, applyUntil) => {
      const point = stepMeets(this.points, records, mirror, applyUntil);
      if (!point) return true;
      this.found = { step, point };
      return !this.isForward;
    });
    this.at = this.isForward ? last : first;
    this.isOver = this.found !== undefined ||
      (this.isForward ? last >= recording.last : first <= recording.beginning + 1);
  }
}

/** The place nearest to a line from which nobody asks, in words; undefined if somebody does. */
export function nearestPlace(history, sources, point) {
  if (point.kind !== 'line') return undefined;
  const found = history.places.flat().filter(({ file }) => isFile(file, point.file));
  if (found.length === 0) return undefined;
  const far = ({ line }) => Math.abs(line - point.line);
  const nearest = found.reduce((a, b) => (far(b) < far(a) ? b : a));
  return nearest.line === point.line ? undefined : place(nearest.file, nearest.line);
}
