// What one pass over a recording keeps of its whole length: what the state at a step does not hold.

/** For what a call waits, as a table of the pane has it: a word and a number. */
export function reasonOf(on) {
  switch (on.for) {
    case 'object': return `object ${on.object}`;
    case 'fd': return `fd ${on.fd}`;
  }
  return on.for;
}

/** The first place of a sorted table at which something is greater than `step`. */
function after(table, step, of = (at) => table[at].step) {
  let [low, high] = [0, table.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(middle) <= step) low = middle + 1;
    else high = middle;
  }
  return low;
}

const PIECE = 1 << 16;

/** A list of numbers that grows to millions: in pieces, so that it is neither copied nor looked through by the engine. */
class Column {
  constructor() {
    this.pieces = [];
    this.length = 0;
    // What is too large for a plain number, by its place.
    this.large = new Map();
  }

  at(place) {
    const number = this.pieces[place >>> 16][place & (PIECE - 1)];
    return Number.isNaN(number) ? this.large.get(place) : number;
  }

  push(number) {
    if (this.length === this.pieces.length * PIECE) this.pieces.push(new Float64Array(PIECE));
    this.set(this.length++, number);
  }

  set(place, number) {
    const isLarge = typeof number === 'bigint';
    if (isLarge) this.large.set(place, number);
    this.pieces[place >>> 16][place & (PIECE - 1)] = isLarge ? NaN : number;
  }
}

export class History {
  constructor() {
    this.names = new Map();
    this.ranSteps = new Column();
    this.ranTasks = new Column();
    this.spentCalls = new Column();
    this.spent = 0;
    this.holders = new Map();
    this.holderWord = undefined;
    this.reasons = [];
    this.seen = new Set();
    this.cycles = [];
    this.outputs = [];
    this.firstCalls = new Map();
    this.places = [];
    // Those of the definitions that hold now: of each site the stacks with which it is in `places`.
    this.stacksOfSites = [];
    this.words = [];
  }

  /** Hears each record of the recording, once. `mirror` is the state before it. */
  note(step, record, mirror) {
    switch (record.kind) {
      case 'set': {
        if (record.field !== this.holderWord) return undefined;
        const task = record.value.is === 'held' ? record.value.task : undefined;
        return entry(this.holders, record.object).push(step, task);
      }
      case 'taken': return this.taken(step, record.task);
      case 'begun': return this.begun(step, record, mirror);
      case 'end': return record.how === 0 ? this.stepRan(step, mirror.running) : undefined;
      case 'born':
        if (record.name !== undefined) this.names.set(record.task, mirror.tables.str(record.name));
        return undefined;
      // What is there may be waited for, and how it stands is told also where nobody does.
      case 'object': return this.noteReason(step, { for: 'object', object: record.object });
      case 'blocked': return this.noteReason(step, record.on);
      case 'cycle': return this.cycles.push({ step, tasks: record.tasks });
      case 'output': return this.outputs.push({ step, length: record.length });
      case 'string':
        if (record.text === 'holder') this.holderWord = mirror.tables.counts.strings;
        return undefined;
      case 'reset':
        this.holderWord = undefined;
        this.stacksOfSites = [];
        this.words = [];
    }
    return undefined;
  }

  noteReason(step, on) {
    const reason = reasonOf(on);
    if (this.seen.has(reason)) return;
    this.seen.add(reason);
    this.reasons.push({ step, reason, on });
  }

  taken(step, task) {
    this.spent = 0;
    this.ran(step, task);
  }

  ran(step, task) {
    this.ranSteps.push(step);
    this.ranTasks.push(task);
    this.spentCalls.push(this.spent);
  }

  begun(step, { task, what, site, stack }, mirror) {
    if (!this.words[what]) {
      this.words[what] = true;
      const word = mirror.tables.str(what);
      if (!this.firstCalls.has(word)) this.firstCalls.set(word, step);
    }
    if (mirror.running === task) this.spent++;
    const stacks = (this.stacksOfSites[site] ??= new Set());
    if (!stacks.has(stack)) {
      stacks.add(stack);
      this.places.push([mirror.tables.site(site), ...mirror.tables.stack(stack)]);
    }
  }

  /** A task that goes on without having been taken anew runs, too. */
  stepRan(step, running) {
    const last = this.ranSteps.length - 1;
    if (last >= 0 && this.ranSteps.at(last) === step) {
      this.spentCalls.set(last, this.spent);
      return;
    }
    const task = running ?? (last >= 0 ? this.ranTasks.at(last) : undefined);
    if (task !== undefined) this.ran(step, task);
  }

  /** How many of the steps in which somebody ran are over after a step. */
  ranUntil(step) {
    return after(this.ranSteps, step, (at) => this.ranSteps.at(at));
  }

  /** Who ran in a step; undefined, if the outside was looked at. */
  whoRan(step) {
    const at = this.ranUntil(step) - 1;
    return at >= 0 && this.ranSteps.at(at) === step ? this.ranTasks.at(at) : undefined;
  }

  /** How much of its quantum the task had spent after a step. */
  spentAt(step) {
    const at = this.ranUntil(step) - 1;
    return at >= 0 && this.ranSteps.at(at) === step ? this.spentCalls.at(at) : 0;
  }

  /** The first step in which a task of this name, or number, ran. */
  firstRun(name) {
    const names = new Set([...this.names].filter(([, other]) => other === name).map(([task]) => `${task}`));
    names.add(name.replace(/^T/, ''));
    for (let at = 0; at < this.ranTasks.length; at++) {
      if (names.has(`${this.ranTasks.at(at)}`)) return this.ranSteps.at(at);
    }
    return undefined;
  }

  nextOf(task, step) {
    for (let at = this.ranUntil(step); at < this.ranSteps.length; at++) {
      if (this.ranTasks.at(at) === task) return this.ranSteps.at(at);
    }
    return undefined;
  }

  previousOf(task, step) {
    for (let at = this.ranUntil(step - 1) - 1; at >= 0; at--) {
      if (this.ranTasks.at(at) === task) return this.ranSteps.at(at);
    }
    return undefined;
  }

  /** Since which step a task holds a thing, in `step`. */
  heldSince(object, holder, step) {
    // A step and a holder in turn: an object for each would be long to make, and to keep.
    const holders = this.holders.get(object) ?? [];
    const length = holders.length / 2;
    for (let at = after({ length }, step, (at) => holders[2 * at]) - 1; at >= 0; at--) {
      if (holders[2 * at + 1] === holder) return holders[2 * at];
    }
    return undefined;
  }

  /** What there has been to wait for up to a step, in the order in which they came. */
  reasonsUntil(step) {
    return this.reasons.slice(0, after(this.reasons, step));
  }

  /** The last circle of which a task is one that closed up to a step. */
  cycleOf(task, step) {
    return this.cycles.slice(0, after(this.cycles, step)).findLast(({ tasks }) => tasks.includes(task));
  }

  closesCycle(step) {
    return this.cycles[after(this.cycles, step) - 1]?.step === step;
  }

  /** How much the program had written after a step; undefined where nobody has told. */
  outputAt(step) {
    if (this.outputs.length === 0) return undefined;
    return this.outputs[after(this.outputs, step) - 1]?.length ?? 0;
  }
}

function entry(map, key, make = () => []) {
  let found = map.get(key);
  if (found === undefined) map.set(key, (found = make()));
  return found;
}
