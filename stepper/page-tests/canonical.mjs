// Prints the canonical text of a trace after each of its steps, and what is wrong with it, if anything.
import { readFileSync, writeSync } from 'node:fs';
import { Recording } from '../page/recording.js';
import { Damaged } from '../page/trace.js';
import { canonicalText } from './canonical-text.mjs';

const [path, chunk] = process.argv.slice(2);
const recording = new Recording();
const bytes = new Uint8Array(readFileSync(path));
// As they would come from a server.
const size = Number(chunk ?? bytes.length) || 1;
for (let at = 0; at < bytes.length; at += size) {
  recording.push(bytes.slice(at, at + size));
  if (recording.bytes.length >= 12) while (recording.advance(() => true));
}
const out = [];
try {
  const replay = recording.replay(0);
  for (let record = replay.next(); record; record = replay.next()) {
    replay.mirror.apply(record);
    if (record.kind !== 'end') continue;
    const text = canonicalText(replay.mirror);
    out.push(text);
    // A jump comes to the same state as the long way.
    const { step } = replay.mirror;
    if (out.length % 23 === 1 && canonicalText(recording.stateAt(step)) !== text) throw new Error(`a jump to step ${step}`);
  }
  if (recording.damage) out.push(`${recording.damageText()}\n`);
} catch (error) {
  if (!(error instanceof Damaged)) throw error;
  out.push(error.message);
}
const text = Buffer.from(out.join('\n'));
for (let at = 0; at < text.length; ) at += writeSync(1, text, at);
