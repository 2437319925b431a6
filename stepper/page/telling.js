// What happens in a step, in sentences, as one would say it before a class: the same ones as on the terminal.

import {
  asciiText, capital, causeName, clockName, duration, onName, ordinal, plural, several, short, siteName, taskName,
  thing, valueName,
} from './names.js';
import { isAskedFor } from './scene.js';

/** What the part of a step that is over comes to; the last phase alone, where the step is not over. */
export function told(history, scene) {
  if (scene.beats.length === 0) return [...tellOpening(history, scene), ...tell(history, scene, 0, 0)];
  if (scene.isWhole) return tell(history, scene, scene.prelude, scene.records.length);
  if (scene.over === 0) return ['The next step is about to begin.'];
  const { start, end } = scene.beats[scene.over - 1];
  const sentences = tell(history, scene, start, end);
  return sentences.length > 0 ? sentences : [nothingNew(scene)];
}

function tellOpening(history, scene) {
  const ready = scene.before.ready();
  if (ready.length > 0) {
    const many = ready.length === 1 ? 'One task stands' : `${ready.length} tasks stand`;
    const first = taskName(ready[0], history);
    return ['Nothing has run yet.', `${many} in the ready queue; ${first} is at its head and will run first.`];
  }
  return ['Nothing has run yet.', scene.before.tasks.size === 0 ? 'There are no tasks.' : 'Nobody is ready.'];
}

/** A phase in which nothing was recorded. */
function nothingNew(scene) {
  const who = scene.task === undefined ? 'the task' : short(scene.task);
  switch (scene.phase) {
    case 'pick': return `${who} goes on: its last call was answered at once.`;
    case 'resume': return `${who} runs, from where it stopped.`;
    case 'settle': return `The step is over; ${who} runs on in the next one.`;
  }
  return 'Nothing changes.';
}

function tell(history, scene, start, end) {
  const teller = new Teller(history, scene);
  const from = Math.max(start, scene.prelude);
  for (const record of scene.records.slice(scene.prelude, from)) {
    if (record.kind === 'begun') teller.own.add(record.call);
    teller.mirror.apply(record);
  }
  if (scene.isWhole) teller.introduce(scene);
  // Orders, after a step, are no part of one.
  const records = scene.records.slice(0, end).concat(scene.isWhole ? scene.tail : []);
  for (let at = from; at < records.length; at++) {
    const record = records[at];
    teller.rest = records.slice(at + 1, at < end ? end : undefined);
    // What is ordered between two steps is no doing of a task's.
    if (at === end) teller.task = undefined;
    TELL[record.kind]?.call(teller, record);
    teller.mirror.apply(record);
  }
  return teller.sentences;
}

class Teller {
  constructor(history, scene) {
    this.history = history;
    this.step = scene.step;
    this.mirror = scene.before.clone();
    this.task = scene.task;
    this.sentences = [];
    this.own = new Set();
    this.answeredTask = undefined;
    this.panicText = undefined;
    this.lastCall = undefined;
    this.births = [];
    this.rest = [];
  }

  say(sentence) {
    this.sentences.push(sentence);
  }

  name(task) {
    return taskName(task, this.history);
  }

  cause(by) {
    return causeName(by, this.mirror);
  }

  thing(object) {
    return thing(object, this.mirror);
  }

  value(value) {
    return valueName(value, this.mirror);
  }

  str(name) {
    return this.mirror.tables.str(name);
  }

  /** The running task; with its name where it is spoken of first. */
  who() {
    if (this.task === undefined) return 'The program';
    return this.sentences.length === 0 ? this.name(this.task) : short(this.task);
  }

  /** "This" for what the running task does. */
  thisOr(by) {
    const name = this.cause(by);
    return this.task !== undefined && name === short(this.task) ? 'This' : capital(name);
  }

  /** A task that goes on is nowhere told of: so it is said first. */
  introduce(scene) {
    const isTaken = scene.records.some(({ kind }) => kind === 'taken');
    if (scene.end === 0 && !isTaken && this.task !== undefined) {
      this.say(`${this.name(this.task)} goes on: its last call was answered at once, and its quantum lasts.`);
    }
    if (this.task === undefined && scene.end === 1) this.outsideBegins(scene);
  }

  outsideBegins(scene) {
    if (this.mirror.queue.length > 0) return this.say('The loop looks at the outside between two turns.');
    const clock = scene.records.findLast(({ kind }) => kind === 'outside')?.time ?? 0;
    const passed = clock > scene.before.clock ? BigInt(clock) - BigInt(scene.before.clock) : 0n;
    const slept = passed === 0n ? '' : ` ${duration(passed)} pass.`;
    return this.say(`Nobody is ready, so the loop waits for the outside: for ${this.waitsForOutside()}.${slept}`);
  }

  /** "2 descriptors and the clock" */
  waitsForOutside() {
    const ons = [...this.mirror.calls.values()].flatMap(({ on }) => on ?? []);
    const isSource = (on) =>
      on.for === 'fd' || (on.for === 'object' && ['read', 'write'].includes(this.str(on.role)));
    const deadlines = ons.filter((on) => on.for === 'deadline').map((on) => on.time);
    const sources = ons.filter(isSource).length;
    const words = [];
    if (sources > 0) words.push(plural(sources, 'descriptor'));
    if (deadlines.length > 0) {
      const next = deadlines.reduce((a, b) => (b < a ? b : a));
      words.push(`the clock, which must come to ${clockName(next)}`);
    }
    return words.length === 0 ? 'other threads' : words.join(' and ');
  }

  /** Where whoever comes now stands. */
  placeInQueue() {
    const before = this.mirror.queue.length;
    return before === 0 ? ' and is alone there' : ` in ${ordinal(before + 1)} place`;
  }

  /** Who asks for a thing and has to wait is told in one sentence. */
  joinLast(sentence) {
    const last = this.sentences.at(-1);
    if (last?.includes(' asks for ') && !last.includes('traps') && last.endsWith('.')) {
      this.sentences[this.sentences.length - 1] = `${last.slice(0, -1)}; ${sentence}`;
    } else {
      this.say(capital(sentence));
    }
  }

  /** "T2 has held it since step 17; T3 joins its queue." */
  waitsForThing(who, object, roleName) {
    const role = this.str(roleName);
    if (role === 'read' || role === 'write') return `that is not so yet, so ${who} waits.`;
    const queue = this.mirror.waiting(object).flatMap(({ task }) => task ?? []);
    const joins = queue.length === 0 ? `${who} joins its queue.` : `${who} joins its queue, behind ${several(queue)}.`;
    const holder = this.mirror.field(object, 'holder');
    if (holder?.is === 'held' && holder.task !== undefined) {
      const step = this.history.heldSince(object, holder.task, this.step);
      const since = step === undefined ? siteName(holder.since, this.mirror) : `step ${step}`;
      const name = short(holder.task) === who ? 'it itself' : short(holder.task);
      return `${name} has held it since ${since}; ${joins}`;
    }
    const count = this.mirror.field(object, 'count');
    if (count?.is !== 'count') return `it has to wait, and ${joins}`;
    return count.number === 0 ? `nothing is in it; ${joins}` : `${count.number} are in it; ${joins}`;
  }

  answeredAtOnce(what, reply, text) {
    // The queue is told of when it rests.
    if (what === 'yield_now' || what === 'park') return;
    if (what === 'get_tid' || what === 'now') this.say(`The answer is there at once: ${text}.`);
    else if (what === 'spawn' && reply.is === 'task') this.say(`The answer is its number, ${reply.number}.`);
    else if (what === 'wait' || what === 'join') this.say('It has ended before, so the answer is there at once.');
    else if (reply.is === 'os') this.say(`The answer is an error: ${text}.`);
    else if (reply.is === 'nothing') this.say('It is done at once.');
    else this.say(`The answer is there at once: ${text}.`);
  }

  countChanges(object, name, now, before) {
    const who = this.who();
    const capacity = this.mirror.field(object, 'capacity');
    const of = capacity?.is === 'count' ? ` of ${capacity.number}` : '';
    const was = before?.is === 'count' ? before.number : 0;
    if (now === was) return undefined;
    const sort = this.str(this.mirror.objects.get(object)?.sort);
    if (sort === 'group') return this.say(`A task ${now > was ? 'joins' : 'leaves'} ${name}: ${now} in it.`);
    const verb = now > was ? 'puts something into' : 'takes something out of';
    return this.say(`${who} ${verb} ${name}, which now holds ${now}${of}.`);
  }

  /** The thing for which a call is going to wait, where its argument does not say. */
  waitedForIn(call) {
    const blocked = this.rest.find((record) => record.kind === 'blocked' && record.call === call && record.on.for === 'object');
    return blocked ? this.thing(blocked.on.object) : '';
  }

  /** For what the calls of a task wait. */
  waitsOf(task) {
    const reasons = this.mirror.blockedCalls(task).map(({ on }) => onName(on, this.mirror));
    return reasons.filter((reason, at) => reason !== reasons[at - 1]).slice(0, 3).join(' or ');
  }
}

/** What is said of each kind of record, before it is applied. */
const TELL = {
  taken({ task }) {
    const others = this.mirror.ready().filter((other) => other !== task);
    const left = others.length === 0 ? 'nobody is left behind it'
      : `${several(others)} ${others.length === 1 ? 'is' : 'are'} left behind it`;
    const { wokenBy, wokenStep } = this.mirror.tasks.get(task);
    // Of one that has run since, it is no news.
    const isNews = wokenBy && wokenStep < this.step && !(this.history.previousOf(task, this.step) > wokenStep);
    const why = isNews ? ` (${this.cause(wokenBy)} woke it in step ${wokenStep})` : '';
    this.say(`${this.name(task)} is taken from the head of the ready queue${why}; ${left}.`);
  },
  born({ task, parent, daemon }) {
    const what = daemon ? ', a daemon, for which no run waits,' : '';
    const who = parent === undefined ? 'The program' : short(parent);
    const joins = `${this.name(task)}${what} joins the ready queue${this.placeInQueue()}.`;
    // It is there before it is told that it was asked for.
    const isAsked = parent !== undefined && parent === this.task && isAskedFor(this.rest, 0);
    if (isAsked) this.births.push(`The kernel makes it: ${joins}`);
    else this.say(`${who} makes a new task: ${joins}`);
  },
  ended({ task, how }) {
    const name = task === this.task ? this.who() : this.name(task);
    const text = this.panicText;
    this.panicText = undefined;
    switch (how) {
      case 'returned': return this.say(`${name} returns: it has ended, and its place in the task table is free.`);
      case 'panicked': {
        const said = text === undefined ? '' : `: "${text}"`;
        return this.say(`${name} panics${said}. It alone ends; the others go on.`);
      }
      case 'killed': return this.say(`${name} is killed: it is dropped where it stood.`);
    }
    return this.say(`${name} was asked to stop, and has.`);
  },
  ready({ task, by }) {
    // Said with the answer.
    const isSaid = this.answeredTask === task;
    this.answeredTask = undefined;
    if (isSaid) return;
    this.say(`${this.thisOr(by)} wakes ${this.name(task)}, which joins the ready queue${this.placeInQueue()}.`);
  },
  first({ task }) {
    this.say(`An order from outside puts ${this.name(task)} at the head of the ready queue.`);
  },
  rested({ task, isReady }) {
    const calls = this.mirror.blockedCalls(task);
    const isSpent = isReady && this.lastCall !== undefined && this.lastCall !== 'yield_now';
    const who = isSpent ? `Its quantum is used up, so ${short(task)}` : short(task);
    if (isReady) {
      const ahead = this.mirror.ready();
      this.say(ahead.length === 0
        ? `${who} goes to the back of the ready queue; as nobody else is there, it is next again.`
        : `${who} goes to the back of the ready queue, behind ${several(ahead)}.`);
    } else if (calls.length === 0) {
      this.say(`${who} waits, for a waker that somebody has: no call of its own is pending.`);
    } else if (calls.every(({ id }) => !this.own.has(id))) {
      this.say(`${who} asks for nothing new, and waits on for ${this.waitsOf(task)}.`);
    } else if (calls.length > 1) {
      this.say(`${who} waits until one of its ${calls.length} calls is answered.`);
    }
  },
  begun({ call, task, what, argument }) {
    this.own.add(call);
    const who = task === this.task ? this.who() : short(task);
    const word = this.str(what);
    const given = this.value(argument) || this.waitedForIn(call);
    const isAtOnce = this.rest.some((record) => record.kind === 'answered' && record.call === call);
    const asks = {
      yield_now: `it offers the others a turn (yield_now)`,
      sleep: given === '' ? 'it asks to sleep' : `it asks to sleep for ${given}`,
      sleep_until: `it asks to sleep until ${given}`,
      wait: `it asks how ${given} ends (wait)`,
      join: `it asks how ${given} ends (join)`,
      spawn: 'it asks for a new task (spawn)',
      kill: `it asks that ${given} be killed`,
      cancel: `it asks that ${given} be told to stop (cancel)`,
      now: 'it asks what the clock says (now)',
      get_tid: 'it asks for its own number (get_tid)',
      // What it wants of it is told with its having to wait.
      read_wait: `it asks to be told when ${given} has something to read`,
      write_wait: `it asks to be told when ${given} has room to write`,
    };
    if (word === 'park') this.say(`${who} asks for ${given}${isAtOnce ? ', and need not wait' : ''}.`);
    else if (Object.hasOwn(asks, word)) this.say(`${who} traps: ${asks[word]}.`);
    else this.say(`${who} traps: it asks ${given === '' ? word : `${word}(${given})`}.`);
    this.lastCall = word;
    this.births.splice(0).forEach((birth) => this.say(birth));
  },
  blocked({ call, on }) {
    const asked = this.mirror.calls.get(call);
    const who = asked.task === undefined ? 'nobody' : short(asked.task);
    switch (on.for) {
      case 'deadline': {
        const others = [...this.mirror.calls.values()].filter((other) => other.on?.for === 'deadline').length;
        const too = ['', '; one other sleeps, too'][others] ?? `; ${others} others sleep, too`;
        return this.joinLast(`${who} waits for the clock, which has to come to ${clockName(on.time)}${too}.`);
      }
      case 'exit': return this.joinLast(`${short(on.task)} lives, so ${who} waits for its end.`);
      case 'object': return this.joinLast(this.waitsForThing(who, on.object, on.role));
      case 'fd': return this.joinLast(`That is not so yet, so ${who} waits for fd ${on.fd}.`);
    }
    return this.joinLast(`${who} waits until somebody in the program answers.`);
  },
  answered({ call, by, reply }) {
    const asked = this.mirror.calls.get(call);
    const { task, on } = asked;
    const what = this.str(asked.what);
    const text = this.value(reply);
    if (!on) return this.answeredAtOnce(what, reply, text);
    if (task === undefined) return this.say(`A call ${what} of nobody is answered.`);
    this.answeredTask = task;
    const who = this.name(task);
    const { clock } = this.mirror;
    const took = clock > asked.sinceTime ? ` ${duration(BigInt(clock) - BigInt(asked.sinceTime))}` : '';
    const joins = {
      blocked: `it joins the ready queue${this.placeInQueue()}`, ready: 'it is ready already',
    }[this.mirror.tasks.get(task)?.state] ?? 'it runs already';
    if (by.by === 'timer') return this.say(`The time until which ${who} waited has come: ${joins}.`);
    if (by.by === 'exit') {
      return this.say(`${who} has waited${took} for the end of T${by.number}, and is told: ${joins}.`);
    }
    if (by.by === 'fd') {
      return this.say(`fd ${by.number} is ready; ${who} has waited${took} for that: ${joins}.`);
    }
    if (on.for === 'object') {
      const name = this.thing(on.object);
      return this.say(`${this.thisOr(by)} answers ${who}, which has waited${took} for ${name}: ${joins}.`);
    }
    return this.say(`${capital(this.cause(by))} answers ${who}, which has waited${took} for its ${what}: ${joins}.`);
  },
  withdrawn({ call }) {
    const { task, on, what } = this.mirror.calls.get(call);
    const whose = task === undefined ? 'nobody' : short(task);
    const word = this.str(what);
    this.say(on
      ? `A call of ${whose} is dropped before it is answered: ${word}, for ${onName(on, this.mirror)}. It leaves the queue.`
      : `A call of ${whose} is dropped before it is served: ${word}.`);
  },
  booked({ call, task }) {
    const asked = this.mirror.calls.get(call);
    if (asked.task === task) return;
    const to = task === undefined ? 'nobody' : short(task);
    this.say(`A pending call changes hands: ${this.str(asked.what)} is ${to}'s now.`);
  },
  set({ object, field, value }) {
    const word = this.str(field);
    const before = this.mirror.field(object, word);
    const name = this.thing(object);
    if (word === 'holder' && value.is === 'held') {
      const other = before?.is === 'held' && before.task !== this.task ? before.task : undefined;
      if (value.task === this.task && other !== undefined) {
        this.say(`${this.who()} takes ${name}, too, beside ${short(other)}: no need to wait.`);
      } else if (value.task === this.task) this.say(`${this.who()} takes ${name}, which is free: no need to wait.`);
      else if (value.task !== undefined) {
        const next = this.name(value.task);
        this.say(`${this.who()} gives ${name} up, and it is handed to ${next}, first in its queue.`);
      }
    } else if (word === 'holder' && value.is === 'nothing') {
      // Who gives it up is told with whom it is handed to.
      const isHandedOn = this.rest.some((next) => next.kind === 'set' && next.object === object && next.field === field &&
        next.value.is === 'held' && next.value.task !== this.task);
      if (!isHandedOn && before?.is === 'held' && before.task === this.task) {
        this.say(`${this.who()} gives ${name} back; nobody holds it now.`);
      }
    } else if (word === 'count' && value.is === 'count') {
      this.countChanges(object, name, value.number, before);
    } else if (word === 'free' && value.is === 'count' && before?.is === 'count') {
      if (value.number === before.number) return;
      const verb = value.number < before.number ? 'takes one from' : 'gives one back to';
      this.say(`${this.who()} ${verb} ${name}: ${value.number} left.`);
    } else if (word === 'free' && value.is === 'count' && value.number > 0 && before === undefined) {
      this.say(`${capital(name)} has ${plural(value.number, 'token')} free now.`);
    } else if (word === 'closed' && value.is === 'count' && value.number > 0) {
      this.say(`${capital(name)} is closed.`);
    }
  },
  outside({ answered, time }) {
    if (this.sentences.length === 0 && this.task === undefined) this.say('The loop looks at the outside.');
    // A look that comes before the wait finds nothing new, or there would be no wait.
    const waitsOn = this.rest.some(({ kind }) => kind === 'outside');
    if (answered === 0 && !waitsOn) this.say(`It is ${clockName(time)}, and nothing is new.`);
  },
  end({ how }) {
    switch (how) {
      case 2: return this.say('No task is left but daemons: the run is over.');
      case 3: {
        const blocked = plural(this.mirror.tasks.size, 'task');
        return this.say('Nobody is ready, nobody sleeps, and no descriptor is waited for: ' +
          `${blocked} can never run again. A deadlock.`);
      }
      case 4: return this.say('For too long nobody has been able to run, but for a waker that is held elsewhere.');
      case 5: return this.say('The driver has failed: the outside cannot be looked at.');
    }
    return undefined;
  },
  done({ object, operation, result }) {
    const [word, who, name] = [this.str(operation), this.who(), this.thing(object)];
    const atOnce = '; there was no need to wait, so it does not trap';
    // Told by the holder that is set beside it, or with the call.
    if (['lock', 'acquire', 'release', 'unlock'].includes(word)) return;
    const text = this.value(result);
    const isRead = word === 'read' || word === 'recv';
    if (word === 'accept') {
      this.say(result.is === 'os' ? `${who} looks for a connection on ${name}: there is none.`
        : `${who} accepts a connection on ${name}${atOnce}.`);
    } else if (word === 'bytes' && result.is === 'payload') this.say(`They begin with "${asciiText(result.bytes)}".`);
    else if (result.is === 'os') this.say(`${who} tries to ${word}: ${name} says "${text}".`);
    else if (isRead && result.is === 'bytes' && result.number === 0) {
      this.say(`${who} reads from ${name}: it has ended.`);
    } else if (isRead) this.say(`${who} reads ${text} from ${name}${atOnce}.`);
    else if (word === 'write' || word === 'send_to') this.say(`${who} writes ${text} into ${name}${atOnce}.`);
    else if (word === 'connect') this.say(`${who} has its connection, ${name}.`);
    else this.say(`${who} does ${word} on ${name}${atOnce}.`);
  },
  woken({ task, by, redundant }) {
    const [cause, who] = [capital(this.cause(by)), short(task)];
    this.say(redundant
      ? `${cause} wakes ${who} once more, which is ready already: this changes nothing.`
      : `${cause} wakes ${who} while it runs: it will be ready again when it rests.`);
  },
  said({ about, number, topic, text }) {
    const who = about === 'task' ? short(number) : 'The kernel';
    const [word, sentence] = [this.str(topic), this.str(text)];
    switch (word) {
      // It is told with the end of the task.
      case 'panic': this.panicText = sentence; return;
      case 'last call': return this.say(`${who} asks ${sentence}(), and does not come back from it.`);
      case 'slow': return this.say(`${who} ${sentence}: nobody else could run meanwhile.`);
      case 'cancelled': return this.say(`${who} is asked to stop: ${sentence}.`);
      case 'warning': return this.say(`Warning: ${sentence}.`);
    }
    return this.say(`${capital(word)}: ${sentence}.`);
  },
  cycle({ tasks }) {
    const links = tasks.map((task, at) => `T${task} waits for T${tasks[(at + 1) % tasks.length]}`);
    this.say(`A cycle has closed: ${links.join(', ')}. None of them can ever go on by itself.`);
  },
};
