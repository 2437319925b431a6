// Prints what is said of a recording's steps, and of their phases, a line for each sentence: as the terminal would, if
// one pressed `n`, or `N`, again and again.
import { readFileSync } from 'node:fs';
import { History } from '../page/history.js';
import { plain } from '../page/names.js';
import { Recording } from '../page/recording.js';
import { sceneAt } from '../page/scene.js';
import { told } from '../page/telling.js';

const [path, most] = process.argv.slice(2);
const history = new History();
const recording = new Recording((step, record, mirror) => history.note(step, record, mirror));
recording.push(new Uint8Array(readFileSync(path)));
while (recording.advance());

const scenes = [];
for (let step = recording.beginning; step !== undefined && scenes.length < most; step = recording.next(step)) {
  const whole = sceneAt(recording, history, step);
  scenes.push(whole);
  for (let phase = 1; phase < whole.beats.length; phase++) {
    scenes.push(sceneAt(recording, history, step, phase));
  }
}
const lines = scenes.map((scene) =>
  JSON.stringify({ step: scene.step, phase: scene.phases, lines: told(history, scene).map(plain) }));
console.log(lines.join('\n'));
