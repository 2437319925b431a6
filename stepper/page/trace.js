// The bytes of a trace: chunks, and the records in them. docs/trace-format.md describes them.
//
// Numbers have up to 64 bits. One that is at most 2^53 - 1 is a plain number here, a larger one a BigInt, always: so
// that `===` and the keys of a Map compare them, and only what is large is slow.

const HEADER_LENGTH = 12;
const CHUNK_HEADER_LENGTH = 16;
const MAX_STRING = 64 * 1024;
const MAX_REMARK = 2 * 1024 * 1024;
const SHAPES = 256;

export const STEP_ENDS = ['ran', 'outside', 'finished', 'deadlock', 'stalled', 'driver failed'];
export const TASK_ENDS = ['returned', 'panicked', 'killed', 'cancelled'];
export const TASK_STATES = ['ready', 'running', 'blocked'];

/** Why a trace cannot be read any further. */
export class Damaged extends Error {}

/** A record goes on beyond the bytes there are. */
const SHORT = new Damaged('a chunk ends in the midst of a record');

const SUMS = Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? 0xedb88320 ^ (sum >>> 1) : sum >>> 1;
  return sum >>> 0;
});
const SUM_TABLE = Uint32Array.from(SUMS);

function addToSum(sum, bytes, start, end) {
  for (let at = start; at < end; at++) sum = SUM_TABLE[(sum ^ bytes[at]) & 0xff] ^ (sum >>> 8);
  return sum;
}

/** As a plain number where that is exact. */
function normal(big) {
  return big <= 0x1fffffffffffffn ? Number(big) : big;
}

/** The sum of two numbers, modulo 2^64. */
export function plus(a, b) {
  const sum = typeof a === 'number' && typeof b === 'number' ? a + b : -1;
  if (sum >= 0 && sum <= Number.MAX_SAFE_INTEGER) return sum;
  return normal(BigInt.asUintN(64, BigInt(a) + BigInt(b)));
}

/** Bytes that come in parts. */
export class Bytes {
  constructor() {
    this.room = this.all = new Uint8Array(0);
  }

  push(more) {
    const length = this.all.length + more.length;
    if (this.room.length < length) {
      // Twice as much as is needed, so that it is not copied each time.
      this.room = new Uint8Array(this.all.length === 0 ? length : 2 * length);
      this.room.set(this.all);
    }
    this.room.set(more, this.all.length);
    this.all = this.room.subarray(0, length);
  }
}

/** Reads the header of a trace: the version of whoever wrote it. */
export function readHeader(bytes) {
  const magic = 'TRAPLINE';
  for (let at = 0; at < magic.length; at++) {
    if (bytes[at] !== magic.charCodeAt(at)) throw new Damaged('this is not a trace');
  }
  if (bytes.length < HEADER_LENGTH) throw new Damaged('this is not a trace');
  const [major, minor] = [bytes[8] | (bytes[9] << 8), bytes[10] | (bytes[11] << 8)];
  if (major !== 1) {
    throw new Damaged(`this is a trace of version ${major}.${minor}, and only those of version 1.x can be read`);
  }
  return { major, minor, length: HEADER_LENGTH };
}

/**
 * The chunk at a place of a trace: where its records begin and end. Undefined where the bytes end there; what is cut
 * or wrong is thrown.
 */
export function readChunk(bytes, offset, isChecked) {
  if (offset >= bytes.length) return undefined;
  const start = offset + CHUNK_HEADER_LENGTH;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = start <= bytes.length ? start + view.getUint32(offset, true) : Infinity;
  if (end > bytes.length) throw new Damaged('the file ends in the midst of a chunk');
  if (!isChecked) {
    const sum = addToSum(addToSum(0xffffffff, bytes, offset, offset + 12), bytes, start, end);
    if ((sum ^ 0xffffffff) >>> 0 !== view.getUint32(offset + 12, true)) {
      throw new Damaged('the checksum of a chunk is wrong');
    }
  }
  return { start, end };
}

/** Reads records from bytes. It checks that they are records; whether they make sense is the mirror's business. */
export class Decoder {
  constructor() {
    this.utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    this.forget(0);
  }

  forget(time) {
    this.time = time;
    this.task = 0;
    this.running = 0;
    this.call = 0;
    this.object = 0;
    this.cause = PROGRAM;
    this.calls = [];
    this.nextCall = 0;
    this.operations = [];
    this.nextOperation = 0;
  }

  /** What it remembers, to be put back with `restore`. */
  save() {
    const { time, task, running, call, object, cause, nextCall, nextOperation } = this;
    const [calls, operations] = [this.calls.slice(), this.operations.slice()];
    return { time, task, running, call, object, cause, calls, nextCall, operations, nextOperation };
  }

  restore(saved) {
    Object.assign(this, saved);
    this.calls = saved.calls.slice();
    this.operations = saved.operations.slice();
  }

  /** The records from `start` to `end` are to be read now. */
  begin(bytes, start, end) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  /** The next record; undefined where there are no more. Remarks of unknown kinds are passed over. */
  next() {
    while (this.at < this.end) {
      const record = this.record();
      if (record !== undefined) return record;
    }
    return undefined;
  }

  byte() {
    if (this.at >= this.end) throw SHORT;
    return this.bytes[this.at++];
  }

  n() {
    const first = this.byte();
    if (first < 0x80) return first;
    let number = first & 0x7f;
    let scale = 128;
    for (let length = 2; length <= 7; length++) {
      const byte = this.byte();
      number += (byte & 0x7f) * scale;
      if (byte < 0x80) return number;
      scale *= 128;
    }
    let big = BigInt(number);
    for (let shift = 49n; shift < 64n; shift += 7n) {
      const byte = this.byte();
      if (shift === 63n && (byte & 0x7f) > 1) break;
      big |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return normal(big);
    }
    throw new Damaged('a number is too large');
  }

  n32() {
    const number = this.n();
    if (number > 0xffffffff) throw new Damaged('a number is too large');
    return number;
  }

  signed() {
    const number = this.n();
    if (typeof number === 'bigint') return (number & 1n) === 0n ? number >> 1n : -((number + 1n) >> 1n);
    return number % 2 === 0 ? number / 2 : -(number + 1) / 2;
  }

  signed32() {
    const number = this.signed();
    if (number > 0x7fffffff || number < -0x80000000) throw new Damaged('a number is too large');
    return Number(number);
  }

  near(other) {
    return plus(other, this.signed());
  }

  later() {
    return plus(this.time, this.n());
  }

  maybe() {
    const number = this.n();
    if (number > 0x100000000) throw new Damaged('a number is too large');
    return number === 0 ? undefined : number - 1;
  }

  length(max) {
    const length = this.n();
    if (length > max) throw new Damaged(`a text of ${length} bytes is too long`);
    if (length > this.end - this.at) throw SHORT;
    return length;
  }

  take(length) {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  text(max) {
    const bytes = this.take(this.length(max));
    try {
      return this.utf8.decode(bytes);
    } catch {
      throw new Damaged('a text is not UTF-8');
    }
  }

  shape() {
    return { what: this.n32(), site: this.n32(), stack: this.n32(), last: NOTHING };
  }

  taskOrNone() {
    return this.byte() === 0 ? undefined : this.near(this.task);
  }

  oldCall(isOther) {
    const before = isOther ? this.n() : 0;
    return plus(this.call, -before);
  }

  record() {
    const code = this.byte();
    if (code >= 0x70 && code <= 0x7f) return this.done(code);
    if (code >= 0x30 && code < 0x60) return this.callChange(code);
    if (code >= 0x20 && code < 0x30) return this.queueChange(code);
    if (code >= 0x10) return this.birthOrEnd(code);
    if (code >= 0x08 && code <= 0x0d) return { kind: 'end', how: code - 0x08 };
    switch (code) {
      case 0x00: {
        const [step, time, missed] = [this.n(), this.n(), this.n()];
        this.forget(time);
        return { kind: 'reset', step, time, missed };
      }
      case 0x01: return { kind: 'string', text: this.text(MAX_STRING) };
      case 0x02: return { kind: 'site', file: this.n32(), line: this.n32(), column: this.n32() };
      case 0x03: return { kind: 'stack', site: this.n32(), around: this.n32() };
      case 0x04: return this.remark();
    }
    return unknown('record', code);
  }

  birthOrEnd(code) {
    switch (code) {
      case 0x10: {
        const flags = this.byte();
        if ((flags & 3) === 3) return unknown('state', flags);
        const task = this.near(this.task);
        const parent = flags & 8 ? this.near(task) : undefined;
        const name = flags & 16 ? this.n32() : undefined;
        const [site, dispatches] = [this.n32(), this.n()];
        this.task = task;
        const state = TASK_STATES[flags & 3];
        return { kind: 'born', task, parent, name, site, daemon: (flags & 4) !== 0, state, dispatches };
      }
      case 0x11: return { kind: 'first', task: (this.task = this.near(this.task)) };
      case 0x12: return { kind: 'withdrawn', call: this.oldCall(true) };
      case 0x13: {
        const call = this.oldCall(true);
        const task = this.taskOrNone();
        this.task = task ?? this.task;
        return { kind: 'booked', call, task };
      }
      case 0x14: case 0x15: case 0x16: case 0x17:
        this.task = this.near(this.task);
        return { kind: 'ended', task: this.task, how: TASK_ENDS[code - 0x14] };
      case 0x18: {
        this.object = this.near(this.object);
        return { kind: 'object', object: this.object, sort: this.n32(), name: this.maybe(), site: this.maybe() };
      }
      case 0x19: return { kind: 'gone', object: (this.object = this.near(this.object)) };
      case 0x1a: {
        const answered = this.n();
        this.time = this.later();
        return { kind: 'outside', answered, time: this.time };
      }
    }
    return unknown('record', code);
  }

  queueChange(code) {
    if (code <= 0x21) {
      const task = this.near(this.task);
      const by = code & 1 ? this.cause : this.by(task);
      this.task = task;
      this.cause = by;
      return { kind: 'ready', task, by };
    }
    if (code === 0x22) {
      this.task = this.running = this.near(this.task);
      this.time = this.later();
      return { kind: 'taken', task: this.task, time: this.time };
    }
    if (code >= 0x24 && code <= 0x27) {
      if (code & 2) this.task = this.near(this.task);
      return { kind: 'rested', task: code & 2 ? this.task : this.running, isReady: (code & 1) !== 0 };
    }
    if (code >= 0x28 && code <= 0x2b) {
      const task = this.near(this.task);
      const by = code & 2 ? this.by(task) : this.cause;
      this.task = task;
      this.cause = by;
      return { kind: 'woken', task, by, redundant: (code & 1) !== 0 };
    }
    if (code === 0x2c || code === 0x2d) {
      if (code & 1) this.object = this.near(this.object);
      return { kind: 'set', object: this.object, field: this.n32(), value: this.value() };
    }
    return unknown('record', code);
  }

  callChange(code) {
    if (code <= 0x37) {
      const task = code & 1 ? this.near(this.task) : this.running;
      const call = code & 2 ? this.near(this.call) : plus(this.call, 1);
      const shape = code & 4 ? this.shape() : this.place(this.calls);
      const argument = this.value();
      if (code & 1) this.task = task;
      if (code & 4) {
        this.calls[this.nextCall] = shape;
        this.nextCall = (this.nextCall + 1) % SHAPES;
      }
      this.call = call;
      return { kind: 'begun', call, task, what: shape.what, argument, site: shape.site, stack: shape.stack };
    }
    if (code >= 0x40 && code <= 0x4b) {
      const call = this.oldCall(code & 1);
      return { kind: 'blocked', call, on: this.on((code - 0x40) >> 1) };
    }
    if (code >= 0x50) {
      const call = this.oldCall(code & 1);
      if (code & 2) this.cause = { by: 'task', number: this.running };
      else if (!(code & 4)) this.cause = this.by(this.task);
      return { kind: 'answered', call, by: this.cause, reply: code & 8 ? this.value() : NOTHING };
    }
    return unknown('record', code);
  }

  place(table) {
    const place = this.byte();
    if (place >= table.length) throw new Damaged(`place ${place} of a table is empty`);
    this.lastPlace = place;
    return table[place];
  }

  on(kind) {
    switch (kind) {
      case 0: return { for: 'deadline', time: this.later() };
      case 1: return { for: 'exit', task: (this.task = this.near(this.task)) };
      case 3: this.object = this.near(this.object); // falls through
      case 2: return { for: 'object', object: this.object, role: this.n32() };
      case 4: return { for: 'fd', fd: this.signed32(), role: this.n32() };
    }
    return SOMEBODY;
  }

  done(code) {
    const task = code & 1 ? this.taskOrNone() : this.running;
    const object = code & 2 ? this.near(this.object) : this.object;
    const shape = code & 4 ? this.shape() : this.place(this.operations);
    const place = code & 4 ? this.nextOperation : this.lastPlace;
    const result = code & 8 ? this.value() : shape.last;
    if (code & 1) this.task = task ?? this.task;
    this.object = object;
    const { what, site, stack } = shape;
    const last = result.is === 'payload' ? NOTHING : result;
    // Entries are never changed: what was saved of the table has them, too.
    if (code & 4 || last !== shape.last) this.operations[place] = { what, site, stack, last };
    if (code & 4) this.nextOperation = (place + 1) % SHAPES;
    return { kind: 'done', task, object, operation: what, site, stack, result };
  }

  by(task) {
    const tag = this.byte();
    if (tag >= 0x80) return { by: 'fd', number: tag & 0x7f };
    switch (tag) {
      case 0: return { by: 'task', number: this.near(task) };
      case 1: return { by: 'exit', number: this.near(task) };
      case 2: return { by: 'timer' };
      case 3: return { by: 'fd', number: this.signed32() };
      case 4: return { by: 'thread', number: this.n32() };
      case 5: return { by: 'outside' };
      case 6: return PROGRAM;
      case 7: return { by: 'order' };
    }
    return unknown('cause', tag);
  }

  value() {
    const tag = this.byte();
    if (tag >= 0x80) return { is: 'fd', number: tag & 0x7f };
    if (tag >= 0x40) return { is: 'count', number: tag & 0x3f };
    switch (tag) {
      case 0: return NOTHING;
      case 1: return { is: 'count', number: this.n() };
      case 2: return { is: 'bytes', number: this.n() };
      case 3: return { is: 'nanos', number: this.n() };
      case 4: return { is: 'time', number: this.later() };
      case 5: return { is: 'task', number: this.n() };
      case 6: return { is: 'object', number: this.n() };
      case 7: return { is: 'text', number: this.n32() };
      case 8: return { is: 'held', task: undefined, since: this.n32() };
      case 9: return { is: 'held', task: this.n(), since: this.n32() };
      case 10: return { is: 'fd', number: this.signed32() };
      case 11: return { is: 'os', number: this.signed32() };
      case 12: return { is: 'payload', bytes: this.take(this.length(MAX_STRING)) };
    }
    return unknown('value', tag);
  }

  /** A remark with its length before it; undefined if its kind is not known. */
  remark() {
    const kind = this.byte();
    const length = this.length(MAX_REMARK);
    const [end, outer] = [this.at + length, this.end];
    this.end = end;
    try {
      return this.remarkOf(kind);
    } catch (error) {
      throw error === SHORT ? new Damaged('a remark ends early') : error;
    } finally {
      this.at = end;
      this.end = outer;
    }
  }

  remarkOf(kind) {
    switch (kind) {
      case 0: {
        const tag = this.byte();
        const number = this.n();
        if (tag > 3) return unknown('subject', tag);
        const about = ['run', 'task', 'call', 'object'][tag];
        return { kind: 'said', about, number, topic: this.n32(), text: this.n32() };
      }
      case 1: {
        const count = this.n();
        if (count > this.end - this.at) throw SHORT;
        return { kind: 'cycle', tasks: Array.from({ length: count }, () => this.n()) };
      }
      case 2: return { kind: 'output', length: this.n() };
      case 3: {
        const [file, isNewer] = [this.n32(), this.byte() !== 0];
        return { kind: 'source', file, isNewer, text: this.text(MAX_REMARK) };
      }
      case 4: return { kind: 'property', key: this.n32(), value: this.n32() };
    }
    return undefined;
  }
}

const NOTHING = { is: 'nothing' };
const PROGRAM = { by: 'program' };
const SOMEBODY = { for: 'somebody' };

function unknown(what, byte) {
  throw new Damaged(`no ${what} begins with byte 0x${byte.toString(16).padStart(2, '0')}`);
}
