// A whole trace, with the state at any of its steps: one pass makes an index, with a copy of the mirror now and then.

import { Bytes, Damaged, Decoder, readChunk, readHeader } from './trace.js';
import { Mirror } from './mirror.js';

/** Records between two checkpoints, at least: a replay of so many is not noticed. */
const CHECKPOINT_RECORDS = 8192;

/** And for each thing that has to be copied: so copies are few where they are large. */
const RECORDS_PER_COPY = 24;

/** A step that one looks at leaves a checkpoint so far before it: steps back, and what is drawn of the past, are near. */
const NEAR = 150;

/** Reads a trace as its bytes come. Whoever listens hears each record, once. */
export class Recording {
  /** `listener(step, record, mirror)` is called with the state before the record. */
  constructor(listener = () => {}) {
    this.listener = listener;
    this.taken = new Bytes();
    this.offset = 0;
    this.chunkEnd = 0;
    this.isInChunk = false;
    this.damage = undefined;
    this.mirror = new Mirror();
    this.decoder = new Decoder();
    this.segments = [];
    this.gaps = [];
    this.properties = new Map();
    this.sources = new Map();
    this.checkpoints = [];
    this.recent = undefined;
    this.recordsSince = 0;
    this.isBegun = false;
    // What has come after the last step.
    this.tail = [];
  }

  /** Takes more bytes; `advance` reads them. */
  push(more) {
    this.taken.push(more);
    if (this.damage?.isTruncated) this.damage = undefined;
  }

  get bytes() {
    return this.taken.all;
  }

  /** Reads on until `isTime()` says that it is time for something else. Whether there is more to read. */
  advance(isTime = () => false) {
    try {
      if (this.offset === 0) {
        this.offset = this.chunkEnd = readHeader(this.bytes).length;
        this.checkpoint();
      }
      while (!this.damage) {
        if (!this.isInChunk) {
          const chunk = readChunk(this.bytes, this.offset, false);
          if (!chunk) return false;
          this.enter(chunk);
        }
        this.decoder.begin(this.bytes, this.offset, this.chunkEnd);
        if (this.readChunkOn(isTime)) return true;
      }
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      this.damage = {
        message: error.message,
        afterStep: this.mirror.step,
        offset: this.offset,
        isTruncated: error.message === 'the file ends in the midst of a chunk',
      };
    }
    return false;
  }

  /** Where the trace is damaged, in a sentence. */
  damageText() {
    const { afterStep, message, offset } = this.damage;
    return `the trace is read up to step ${afterStep} only: ${message} (at byte ${offset})`;
  }

  enter({ start, end }) {
    this.offset = start;
    this.chunkEnd = end;
    this.isInChunk = true;
  }

  readChunkOn(isTime) {
    for (let count = 1; ; count++) {
      const record = this.decoder.next();
      if (record === undefined) break;
      this.record(record);
      this.offset = this.decoder.at;
      if (count % 1024 === 0 && isTime()) return true;
    }
    this.offset = this.chunkEnd;
    this.isInChunk = false;
    return false;
  }

  record(record) {
    if (!this.isBegun && record.kind !== 'reset') throw new Damaged('it does not begin with a reset');
    this.isBegun = true;
    const over = this.mirror.step;
    this.listener(record.kind === 'reset' ? record.step + 1 : over + 1, record, this.mirror);
    this.mirror.apply(record);
    this.recordsSince++;
    this.tail.push(record);
    switch (record.kind) {
      case 'reset': return this.reset(over, record);
      case 'end': return this.stepEnd();
      case 'property': {
        const { tables } = this.mirror;
        return this.properties.set(tables.str(record.key), tables.str(record.value));
      }
      case 'source': {
        const file = this.mirror.tables.str(record.file);
        if (!this.sources.has(file)) this.sources.set(file, { text: record.text, isNewer: record.isNewer });
      }
    }
  }

  reset(over, { step, missed }) {
    const last = this.segments.at(-1);
    if (last && (missed !== 0 || step !== last.last)) this.gaps.push({ afterStep: over, missed });
  }

  stepEnd() {
    this.tail = [];
    const { step } = this.mirror;
    const last = this.segments.at(-1);
    if (last && last.last + 1 === step) last.last = step;
    else if (!last || last.last < step) this.segments.push({ first: step, last: step });
    const due = Math.max(CHECKPOINT_RECORDS, RECORDS_PER_COPY * this.mirror.size);
    if (this.recordsSince >= due) {
      this.offset = this.decoder.at;
      this.checkpoint();
    }
  }

  checkpoint() {
    this.recordsSince = 0;
    const { offset, chunkEnd, isInChunk } = this;
    this.checkpoints.push({
      step: this.mirror.step, mirror: this.mirror.clone(), decoder: this.decoder.save(), offset, chunkEnd, isInChunk,
    });
  }

  /** How many steps are in it, as a whole. */
  get steps() {
    return this.segments.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  }

  /** Before the first step. */
  get beginning() {
    return this.segments.length > 0 ? this.segments[0].first - 1 : 0;
  }

  get last() {
    return this.segments.at(-1)?.last ?? 0;
  }

  hasStep(step) {
    return this.segments.some(({ first, last }) => first <= step && step <= last);
  }

  /** The nearest step that is in the recording, or the beginning. */
  nearest(step) {
    const wanted = Math.min(Math.max(step, this.beginning), this.last);
    if (this.hasStep(wanted) || wanted === this.beginning) return wanted;
    return this.segments.filter(({ last }) => last <= wanted).at(-1)?.last ?? this.beginning;
  }

  next(step) {
    if (this.hasStep(step + 1)) return step + 1;
    return this.segments.find(({ first }) => first > step)?.first;
  }

  previous(step) {
    if (step <= this.beginning) return undefined;
    if (this.hasStep(step - 1) || step - 1 === this.beginning) return step - 1;
    return this.segments.filter(({ last }) => last < step).at(-1)?.last ?? this.beginning;
  }

  /** The state after a step; undefined if the step is not in the trace. */
  stateAt(step) {
    if (!this.hasStep(step)) return undefined;
    const replay = this.replay(step);
    while (replay.mirror.step !== step || replay.mirror.isInStep) {
      const record = replay.next();
      if (!record) return undefined;
      replay.mirror.apply(record);
    }
    return replay.mirror;
  }

  /** The records of a step, and the state before them. */
  step(step) {
    if (!this.hasStep(step)) return undefined;
    const replay = this.replay(step - 1);
    const records = [];
    let before = replay.mirror.step === step - 1 ? replay.mirror.clone() : undefined;
    for (let record = replay.next(); record; record = replay.next()) {
      if (record.kind === 'reset') {
        records.length = 0;
        before = replay.mirror.clone();
      }
      replay.mirror.apply(record);
      records.push(record);
      if (record.kind !== 'end') continue;
      if (replay.mirror.step === step) return { before, records };
      if (replay.mirror.step === step - 1) before = replay.mirror.clone();
      if (replay.mirror.step === step - NEAR) this.recent = replay.checkpoint();
      records.length = 0;
    }
    return undefined;
  }

  /**
   * Goes over the steps `first` to `last`: `visit(step, records, mirror, applyUntil)` finds the state before the step,
   * and may have the first so many records applied to it. It goes on unless the answer is false.
   */
  eachStep(first, last, visit) {
    const replay = this.replay(Math.max(first - 1, 0));
    let over = replay.mirror.step;
    let records = [];
    for (let record = replay.next(); record; record = replay.next()) {
      records.push(record);
      if (record.kind === 'reset') over = record.step;
      if (record.kind !== 'end') continue;
      over++;
      if (over > last) return;
      let done = 0;
      const applyUntil = (end) => {
        while (done < end) replay.mirror.apply(records[done++]);
      };
      if (over >= first && visit(over, records, replay.mirror, applyUntil) === false) return;
      applyUntil(records.length);
      records = [];
    }
  }

  /** Reads once more from the last checkpoint at or before a step. */
  replay(step) {
    let [low, high] = [0, this.checkpoints.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.checkpoints[middle].step <= step) low = middle;
      else high = middle - 1;
    }
    const isRecentNearer = this.recent && this.recent.step <= step && this.recent.step > this.checkpoints[low].step;
    return new Replay(this.bytes, this.offset, isRecentNearer ? this.recent : this.checkpoints[low]);
  }
}

class Replay {
  constructor(bytes, limit, checkpoint) {
    this.bytes = bytes;
    this.limit = limit;
    this.mirror = checkpoint.mirror.clone();
    this.decoder = new Decoder();
    this.decoder.restore(checkpoint.decoder);
    this.offset = checkpoint.isInChunk ? checkpoint.chunkEnd : checkpoint.offset;
    this.decoder.begin(bytes, checkpoint.offset, checkpoint.isInChunk ? checkpoint.chunkEnd : checkpoint.offset);
  }

  /** The state, and where to go on from there. */
  checkpoint() {
    const { step } = this.mirror;
    const [offset, chunkEnd] = [this.decoder.at, this.offset];
    return { step, mirror: this.mirror.clone(), decoder: this.decoder.save(), offset, chunkEnd, isInChunk: true };
  }

  /** The next record of what has been found good. */
  next() {
    for (;;) {
      if (this.decoder.at >= this.limit) return undefined;
      const record = this.decoder.next();
      if (record !== undefined) return record;
      if (this.offset >= this.limit) return undefined;
      const { start, end } = readChunk(this.bytes, this.offset, true);
      this.offset = end;
      this.decoder.begin(this.bytes, start, end);
    }
  }
}
