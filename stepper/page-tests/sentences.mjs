// Prints what is said of a recording, as JSON, a line for each place: as the terminal would say it.
//
// `sentences`: of its steps, and of their phases, if one pressed `n`, or `N`, again and again. `asked`: after each step
// why each task does not run, what is to be predicted, who waits for what, and the log.
import { readFileSync } from 'node:fs';
import { questionAfter, why } from '../page/asking.js';
import { History } from '../page/history.js';
import { sorted } from '../page/mirror.js';
import { plain } from '../page/names.js';
import { logRows, waitTexts } from '../page/panes.js';
import { Recording } from '../page/recording.js';
import { sceneAt } from '../page/scene.js';
import { told } from '../page/telling.js';

const [path, most, what] = process.argv.slice(2);
const history = new History();
const recording = new Recording((step, record, mirror) => history.note(step, record, mirror));
recording.push(new Uint8Array(readFileSync(path)));
while (recording.advance());

const say = (place, lines) => console.log(JSON.stringify({ ...place, lines: lines.map(plain) }));

function tellSentences(scene) {
  say({ step: scene.step }, told(history, scene));
  for (let phase = 1; phase < scene.beats.length; phase++) {
    say({ step: scene.step, phase }, told(history, sceneAt(recording, history, scene.step, phase)));
  }
}

function tellAsked(scene) {
  const { step } = scene;
  sorted(scene.now.tasks).forEach(({ id }, at) =>
    say({ step, downs: at + 1 }, [...told(history, scene), why(history, scene, id)]));
  const question = questionAfter(recording, history, scene);
  if (question) {
    const from = sceneAt(recording, history, question.from.step, question.from.phases);
    const answers = question.answers.map((text, at) => `[${at + 1}] ${text}`).join('   ');
    say({ step, keys: 'x' }, [...told(history, from), question.text, answers]);
  }
  say({ step, keys: '0' }, waitTexts({ scene, history }));
  const desk = { scene, recording, look: { filter: '' }, shows: () => true, passes: () => true };
  const rows = logRows(desk).map(({ step, who, text }) => `${`${step}`.padStart(5)} ${who.padEnd(4)} ${text}`);
  say({ step, keys: '6' }, rows.slice(-57));
}

let left = Number(most);
for (let step = recording.beginning; step !== undefined && left > 0; step = recording.next(step), left--) {
  const scene = sceneAt(recording, history, step);
  if (what === 'asked') tellAsked(scene);
  else tellSentences(scene);
}
