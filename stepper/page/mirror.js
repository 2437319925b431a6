// The state of a scheduler, rebuilt from a trace: what trace/src/mirror does, move for move.

import { Damaged } from './trace.js';

const MAX_FIELDS = 64;
const MAX_FRAMES = 256;

/** The ready queue: a task is found in it by its ticket. */
class Queue {
  constructor() {
    this.items = [];
    this.head = 0;
    this.offset = 0;
    this.length = 0;
  }

  clone() {
    const copy = new Queue();
    copy.items = this.items.slice(this.head);
    copy.offset = this.offset + this.head;
    copy.length = this.length;
    return copy;
  }

  push(task) {
    this.length++;
    return this.offset + this.items.push(task) - 1;
  }

  pushFront(task) {
    this.length++;
    if (this.head === 0) {
      // Room for the next ones, too.
      this.items = new Array(64).concat(this.items);
      this.head = 64;
      this.offset -= 64;
    }
    this.items[--this.head] = task;
    return this.offset + this.head;
  }

  /** The ticket of the first task. */
  first() {
    return this.offset + this.head;
  }

  remove(ticket) {
    this.items[ticket - this.offset] = undefined;
    this.length--;
    while (this.head < this.items.length && this.items[this.head] === undefined) this.head++;
    if (this.head > 1024 && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head);
      this.offset += this.head;
      this.head = 0;
    }
  }

  tasks() {
    return this.items.slice(this.head).filter((task) => task !== undefined);
  }
}

/** Strings, sites and stacks. Copies share them: the same trace defines the same once more. */
class Tables {
  constructor() {
    this.strings = [];
    this.sites = [];
    this.stacks = [];
    this.counts = { strings: 0, sites: 0, stacks: 0 };
  }

  clone() {
    const copy = new Tables();
    Object.assign(copy, this);
    copy.counts = { ...this.counts };
    return copy;
  }

  str(name) {
    return name < this.counts.strings ? this.strings[name] : '?';
  }

  site(site) {
    if (site >= this.counts.sites) return { file: '?', line: 0, column: 0 };
    const { file, line, column } = this.sites[site];
    return { file: this.str(file), line, column };
  }

  /** The lines of the frames around a call, innermost first. */
  stack(stack) {
    const frames = [];
    while (stack > 0 && stack <= this.counts.stacks && frames.length < MAX_FRAMES) {
      const frame = this.stacks[stack - 1];
      frames.push(this.site(frame.site));
      stack = frame.around;
    }
    return frames;
  }
}

/** The state after what has been applied. What contradicts it is thrown, and has not changed it. */
export class Mirror {
  constructor(step = 0, clock = 0) {
    this.step = step;
    this.clock = clock;
    this.running = undefined;
    this.isInStep = false;
    this.isBorn = true;
    this.queue = new Queue();
    this.tasks = new Map();
    this.calls = new Map();
    this.objects = new Map();
    this.tables = new Tables();
    this.blocks = 0;
  }

  /** A copy that may go another way. */
  clone() {
    const copy = new Mirror(this.step, this.clock);
    Object.assign(copy, this);
    copy.queue = this.queue.clone();
    copy.tables = this.tables.clone();
    copy.tasks = new Map();
    for (const [id, task] of this.tasks) copy.tasks.set(id, { ...task });
    copy.calls = new Map();
    for (const [id, call] of this.calls) copy.calls.set(id, { ...call });
    copy.objects = new Map();
    for (const [id, object] of this.objects) {
      copy.objects.set(id, { ...object, fields: new Map(object.fields) });
    }
    return copy;
  }

  /** How much a copy has to copy. */
  get size() {
    return this.tasks.size + this.calls.size + 2 * this.objects.size;
  }

  /** The ready queue, head first. */
  ready() {
    return this.queue.tasks();
  }

  /** What a field of a thing holds. */
  field(object, field) {
    for (const [name, value] of this.objects.get(object)?.fields ?? []) {
      if (this.tables.str(name) === field) return value;
    }
    return undefined;
  }

  /** The calls that wait for something of a thing, in the order in which they came. */
  waiting(object) {
    const waits = [...this.calls.values()].filter((call) => call.on?.object === object);
    return waits.sort((a, b) => a.order - b.order);
  }

  /** The calls of a task that wait. */
  blockedCalls(task) {
    return [...this.calls.values()].filter((call) => call.task === task && call.on);
  }

  apply(record) {
    try {
      MOVES[record.kind](this, record);
    } catch (error) {
      if (!(error instanceof Contradiction)) throw error;
      throw new Damaged(`in step ${this.step + 1}: ${error.message}`);
    }
    if (record.kind === 'end') this.isInStep = false;
    else if (!REMARKS.has(record.kind)) this.isInStep = true;
  }

  // What follows checks that what is named is there.

  checkStr(name) {
    if (name !== undefined && name >= this.tables.counts.strings) wrong(`string ${name} was not defined`);
  }

  checkSite(site) {
    if (site !== undefined && site >= this.tables.counts.sites) wrong(`site ${site} was not defined`);
  }

  checkStack(stack) {
    if (stack > this.tables.counts.stacks) wrong(`stack ${stack} was not defined`);
  }

  checkCause(cause) {
    if (cause.by === 'thread') this.checkStr(cause.number);
  }

  checkValue(value) {
    if (value.is === 'text') this.checkStr(value.number);
    else if (value.is === 'held') this.checkSite(value.since);
  }

  taskThatIs(id, state) {
    const task = this.taskThatLives(id);
    if (task.state !== state) wrong(`task ${id} is not ${state}`);
    return task;
  }

  taskThatLives(id) {
    return this.tasks.get(id) ?? wrong(`no task ${id} lives`);
  }

  callInFlight(id) {
    return this.calls.get(id) ?? wrong(`no call ${id} is in flight`);
  }

  objectThatIs(id) {
    return this.objects.get(id) ?? wrong(`there is no object ${id}`);
  }

  checkNoneRuns(task) {
    if (this.running !== undefined) wrong(`task ${task} is taken while task ${this.running} runs`);
  }

  enter(task, state) {
    task.state = state;
    task.sinceStep = this.step + 1;
    task.sinceTime = this.clock;
  }

  /** The whole state as text, one way only: the mirror in Rust and the kernel itself print the same. */
  text() {
    const lines = [`step ${this.step}`, `running ${this.running ?? '-'}`];
    const ready = this.ready();
    lines.push(`ready ${ready.length === 0 ? '-' : ready.join(' ')}`);
    const ofNobody = [];
    const byTask = new Map();
    for (const call of sorted(this.calls).filter((call) => call.on)) {
      if (!this.tasks.has(call.task)) ofNobody.push(call);
      else if (byTask.has(call.task)) byTask.get(call.task).push(call);
      else byTask.set(call.task, [call]);
    }
    for (const task of sorted(this.tasks)) {
      lines.push(this.taskLine(task));
      for (const call of byTask.get(task.id) ?? []) lines.push(`  call ${call.id}${this.callLine(call)}`);
    }
    for (const call of ofNobody) lines.push(`call ${call.id} of nobody${this.callLine(call)}`);
    const waits = (call) => call.on?.for === 'object' && this.tables.str(call.on.role) === 'token';
    const tokens = [...this.calls.values()].filter(waits);
    const wanted = new Set(tokens.map((call) => call.on.object));
    for (const object of sorted(this.objects).filter((object) => wanted.has(object.id))) {
      const waiting = tokens.filter((call) => call.on.object === object.id);
      waiting.sort((a, b) => a.order - b.order);
      lines.push(this.objectLine(object, waiting));
    }
    return lines.join('\n') + '\n';
  }

  taskLine(task) {
    const daemon = task.daemon ? ' daemon' : '';
    return `task ${task.id} ${this.named(task.name)} parent ${task.parent ?? '-'}${daemon} at ` +
      `${this.siteText(task.site)}: ${task.state}, dispatches ${task.dispatches}`;
  }

  callLine(call) {
    const around = this.tables.stack(call.stack).map((site) => ` < ${siteLine(site)}`).join('');
    const head = ` ${this.tables.str(call.what)} at ${this.siteText(call.site)}${around}: `;
    const on = call.on;
    switch (on.for) {
      case 'deadline': return `${head}deadline ${on.time}`;
      case 'exit': return `${head}exit of ${on.task}`;
      case 'object': return `${head}object ${on.object} ${this.tables.str(on.role)}`;
      case 'fd': return `${head}fd ${on.fd} ${this.tables.str(on.role)}`;
    }
    return `${head}somebody`;
  }

  objectLine(object, waiting) {
    const [holder, holders] = [this.field(object.id, 'holder'), this.field(object.id, 'holders')];
    const said = [];
    if (holder?.is === 'held') said.push(`held by ${holder.task ?? '-'} since ${this.siteText(holder.since)}`);
    if (holders?.is === 'count') said.push(`holders ${holders.number}`);
    const beside = said.length > 0 ? ` ${said.join(', ')}` : '';
    const calls = waiting.map((call) => ` ${call.id}`).join('');
    return `object ${object.id} ${this.tables.str(object.sort)} ${this.named(object.name)}${beside}: waiting${calls}`;
  }

  named(name) {
    return name === undefined ? '-' : quoted(this.tables.str(name));
  }

  siteText(site) {
    return siteLine(this.tables.site(site));
  }
}

/** What each record does. Remarks change nothing, but what they name of the tables must be there. */
const MOVES = {
  reset(mirror, { step, time }) {
    if (step < mirror.step) wrong(`steps go back to ${step}`);
    if (typeof step === 'bigint') wrong(`step ${step} is more than one counts to`);
    Object.assign(mirror, new Mirror(step, time));
  },
  string({ tables }, { text }) {
    tables.strings[tables.counts.strings++] = text;
  },
  site(mirror, { file, line, column }) {
    mirror.checkStr(file);
    mirror.tables.sites[mirror.tables.counts.sites++] = { file, line, column };
  },
  stack(mirror, { site, around }) {
    mirror.checkSite(site);
    mirror.checkStack(around);
    mirror.tables.stacks[mirror.tables.counts.stacks++] = { site, around };
  },
  end(mirror) {
    mirror.step++;
    mirror.isBorn = false;
  },
  born(mirror, { task, parent, name, site, daemon, state, dispatches }) {
    mirror.checkStr(name);
    mirror.checkSite(site);
    if (mirror.tasks.has(task)) wrong(`task ${task} is born twice`);
    if (state !== 'ready' && !mirror.isBorn) wrong(`task ${task} is not ready at its birth`);
    if (state === 'running') {
      mirror.checkNoneRuns(task);
      mirror.running = task;
    }
    const ticket = state === 'ready' ? mirror.queue.push(task) : 0;
    const [sinceStep, sinceTime] = [mirror.step + 1, mirror.clock];
    mirror.tasks.set(task, {
      id: task, parent, name, site, daemon, state, dispatches, sinceStep, sinceTime,
      wokenBy: undefined, wokenStep: 0, ticket, askedSite: undefined, askedStack: 0,
    });
  },
  ended(mirror, { task }) {
    const ended = mirror.taskThatLives(task);
    mirror.tasks.delete(task);
    if (ended.state === 'ready') mirror.queue.remove(ended.ticket);
    else if (ended.state === 'running') mirror.running = undefined;
  },
  ready(mirror, { task, by }) {
    mirror.checkCause(by);
    const entry = mirror.taskThatIs(task, 'blocked');
    entry.ticket = mirror.queue.push(task);
    mirror.enter(entry, 'ready');
    entry.wokenBy = by;
    entry.wokenStep = mirror.step + 1;
  },
  first(mirror, { task }) {
    const entry = mirror.taskThatIs(task, 'ready');
    mirror.queue.remove(entry.ticket);
    entry.ticket = mirror.queue.pushFront(task);
  },
  taken(mirror, { task, time }) {
    const entry = mirror.taskThatIs(task, 'ready');
    mirror.checkNoneRuns(task);
    if (mirror.queue.first() !== entry.ticket) {
      wrong(`task ${task} is taken, but is not the head of the ready queue`);
    }
    mirror.queue.remove(entry.ticket);
    mirror.clock = time;
    mirror.running = task;
    mirror.enter(entry, 'running');
    entry.dispatches++;
  },
  rested(mirror, { task, isReady }) {
    const entry = mirror.taskThatIs(task, 'running');
    mirror.running = undefined;
    if (isReady) entry.ticket = mirror.queue.push(task);
    mirror.enter(entry, isReady ? 'ready' : 'blocked');
  },
  begun(mirror, { call, task, what, argument, site, stack }) {
    // Where none that lives waits for the answer, it is nobody's.
    const asks = task === 0 ? undefined : mirror.taskThatLives(task);
    mirror.checkStr(what);
    mirror.checkValue(argument);
    mirror.checkSite(site);
    mirror.checkStack(stack);
    if (mirror.calls.has(call)) wrong(`call ${call} is begun twice`);
    mirror.calls.set(call, {
      id: call, task: asks?.id, what, argument, site, stack, on: undefined, sinceStep: mirror.step + 1,
      sinceTime: mirror.clock, order: 0,
    });
    if (asks === undefined) return;
    asks.askedSite = site;
    asks.askedStack = stack;
  },
  blocked(mirror, { call, on }) {
    if (on.for === 'exit') mirror.taskThatLives(on.task);
    if (on.role !== undefined) mirror.checkStr(on.role);
    if (on.for === 'object') mirror.objectThatIs(on.object);
    const entry = mirror.callInFlight(call);
    entry.on = on;
    entry.order = mirror.blocks++;
  },
  answered(mirror, { call, by, reply }) {
    mirror.checkCause(by);
    mirror.checkValue(reply);
    mirror.callInFlight(call);
    mirror.calls.delete(call);
  },
  withdrawn(mirror, { call }) {
    mirror.callInFlight(call);
    mirror.calls.delete(call);
  },
  booked(mirror, { call, task }) {
    if (task !== undefined) mirror.taskThatLives(task);
    mirror.callInFlight(call).task = task;
  },
  object(mirror, { object, sort, name, site }) {
    mirror.checkStr(sort);
    mirror.checkStr(name);
    mirror.checkSite(site);
    if (mirror.objects.has(object)) wrong(`object ${object} is born twice`);
    mirror.objects.set(object, { id: object, sort, name, site, fields: new Map() });
  },
  gone(mirror, { object }) {
    mirror.objectThatIs(object);
    mirror.objects.delete(object);
  },
  set(mirror, { object, field, value }) {
    mirror.checkStr(field);
    mirror.checkValue(value);
    const { fields } = mirror.objectThatIs(object);
    if (!fields.has(field) && fields.size >= MAX_FIELDS) wrong(`object ${object} has too many fields`);
    fields.set(field, value);
  },
  outside(mirror, { time }) {
    mirror.clock = time;
  },
  done(mirror, { operation, result, site, stack }) {
    mirror.checkStr(operation);
    mirror.checkValue(result);
    mirror.checkSite(site);
    mirror.checkStack(stack);
  },
  woken(mirror, { by }) {
    mirror.checkCause(by);
  },
  said(mirror, { topic, text }) {
    mirror.checkStr(topic);
    mirror.checkStr(text);
  },
  source(mirror, { file }) {
    mirror.checkStr(file);
  },
  property(mirror, { key, value }) {
    mirror.checkStr(key);
    mirror.checkStr(value);
  },
  cycle() {},
  output() {},
};

const REMARKS = new Set(['done', 'woken', 'said', 'source', 'property', 'cycle', 'output']);

class Contradiction extends Error {}

function wrong(message) {
  throw new Contradiction(message);
}

/** The entries of a table by their numbers. They are mostly in that order. */
export function sorted(table) {
  return [...table.values()].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
}

function siteLine({ file, line, column }) {
  return `${file}:${line}:${column}`;
}

/** A text in quotes, with what one would not see written out: as Rust's `{:?}` has it. */
export function quoted(text) {
  const short = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\0': '\\0' };
  const hidden = /["\\]|(?! )[\p{C}\p{Z}\p{Grapheme_Extend}]/gu;
  return `"${text.replace(hidden, (c) => short[c] ?? `\\u{${c.codePointAt(0).toString(16)}}`)}"`;
}
