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
function after(table, step, of = (entry) => entry.step) {
  let [low, high] = [0, table.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(table[middle]) <= step) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class History {
  constructor() {
    this.names = new Map();
    this.ranSteps = [];
    this.ranTasks = [];
    this.spentCalls = [];
    this.spent = 0;
    this.stops = new Map();
    this.holders = new Map();
    this.reasons = [];
    this.seen = new Set();
    this.cycles = [];
    this.outputs = [];
    this.firstCalls = new Map();
    this.firstRuns = new Map();
    this.runners = new Set();
    this.places = [];
    // By the numbers of the definitions that hold now.
    this.placeIds = [];
    this.words = [];
  }

  /** Hears each record of the recording, once. `mirror` is the state before it. */
  note(step, record, mirror) {
    switch (record.kind) {
      case 'reset':
        this.placeIds = [];
        this.words = [];
        return undefined;
      case 'taken': return this.taken(step, record.task);
      case 'born':
        if (record.name !== undefined) this.names.set(record.task, mirror.tables.str(record.name));
        return undefined;
      case 'begun': return this.begun(step, record, mirror);
      // What is there may be waited for, and how it stands is told also where nobody does.
      case 'object': return this.noteReason(step, { for: 'object', object: record.object });
      case 'blocked': return this.noteReason(step, record.on);
      case 'set': {
        if (mirror.tables.str(record.field) !== 'holder') return undefined;
        const task = record.value.is === 'held' ? record.value.task : undefined;
        return entry(this.holders, record.object).push({ step, task });
      }
      case 'cycle': return this.cycles.push({ step, tasks: record.tasks });
      case 'output': return this.outputs.push({ step, length: record.length });
      case 'end': return record.how === 0 ? this.stepRan(step, mirror.running) : undefined;
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
    if (this.runners.has(task)) return;
    this.runners.add(task);
    for (const name of [this.names.get(task), `${task}`, `T${task}`]) {
      if (name !== undefined && !this.firstRuns.has(name)) this.firstRuns.set(name, step);
    }
  }

  begun(step, { task, what, site, stack }, mirror) {
    if (!this.words[what]) {
      this.words[what] = true;
      const word = mirror.tables.str(what);
      if (!this.firstCalls.has(word)) this.firstCalls.set(word, step);
    }
    if (mirror.running === task) this.spent++;
    let stops = this.stops.get(task);
    if (stops === undefined) this.stops.set(task, (stops = []));
    // Two plain numbers a call: a million of them cost nothing to keep.
    stops.push(step, this.placeId(site, stack, mirror));
  }

  /** A task that goes on without having been taken anew runs, too. */
  stepRan(step, running) {
    const last = this.ranSteps.length - 1;
    if (last >= 0 && this.ranSteps[last] === step) {
      this.spentCalls[last] = this.spent;
      return;
    }
    const task = running ?? this.ranTasks[last];
    if (task !== undefined) this.ran(step, task);
  }

  /** The number of a call's place: its line, and those of the frames around it. */
  placeId(site, stack, mirror) {
    const ofSite = (this.placeIds[site] ??= new Map());
    let id = ofSite.get(stack);
    if (id === undefined) {
      ofSite.set(stack, (id = this.places.length));
      this.places.push([mirror.tables.site(site), ...mirror.tables.stack(stack)]);
    }
    return id;
  }

  /** Who ran in a step; undefined, if the outside was looked at. */
  whoRan(step) {
    const at = after(this.ranSteps, step, Number) - 1;
    return this.ranSteps[at] === step ? this.ranTasks[at] : undefined;
  }

  /** How much of its quantum the task had spent after a step. */
  spentAt(step) {
    const at = after(this.ranSteps, step, Number) - 1;
    return this.ranSteps[at] === step ? this.spentCalls[at] : 0;
  }

  nextOf(task, step) {
    for (let at = after(this.ranSteps, step, Number); at < this.ranSteps.length; at++) {
      if (this.ranTasks[at] === task) return this.ranSteps[at];
    }
    return undefined;
  }

  previousOf(task, step) {
    for (let at = after(this.ranSteps, step - 1, Number) - 1; at >= 0; at--) {
      if (this.ranTasks[at] === task) return this.ranSteps[at];
    }
    return undefined;
  }

  /** Where a task asked for something last, after a step: the innermost line that is the program's own. */
  stop(task, step, sources) {
    const stops = this.stops.get(task) ?? [];
    let [low, high] = [0, stops.length / 2];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (stops[2 * middle] <= step) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return undefined;
    const frames = this.places[stops[2 * low - 1]];
    return frames.find(({ file }) => sources.has(file)) ?? frames[0];
  }

  /** Since which step a task holds a thing, in `step`. */
  heldSince(object, holder, step) {
    const holders = this.holders.get(object) ?? [];
    for (let at = after(holders, step) - 1; at >= 0; at--) {
      if (holders[at].task === holder) return holders[at].step;
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
