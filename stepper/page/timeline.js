// A lane for each task, a column for each step, and arrows from whoever wakes to whom.

import { short, taskName } from './names.js';
import { dim, svg } from './panes.js';
import { preludeOf } from './scene.js';

const COLUMN = 16;
const LANE = 22;
const NAMES = 110;
const MOST_LANES = 40;

export function drawTimeline(desk, body) {
  const { scene, history } = desk;
  const [first, last] = stepsShown(desk);
  const { lanes, more } = lanesShown(desk, first, last);
  const columns = columnsOf(desk, first, last, lanes);
  const picture = svg('svg', {
    width: NAMES + columns.length * COLUMN + 30, height: (lanes.length + 1) * LANE + 6, role: 'img',
    'aria-label': `Steps ${first} to ${columns.at(-1)?.step ?? first}. ${ranText(columns)}`,
  });
  columns.forEach(({ step }, at) => drawHead(picture, step, Math.abs(step - scene.step), NAMES + at * COLUMN, lanes.length * LANE));
  for (const [name, way] of Object.entries(waysOf(columns, lanes))) {
    if (way.length > 0) picture.append(svg('path', { class: name, d: way.join('') }));
  }
  lanes.forEach((task, at) => picture.append(svg('text', { x: 2, y: (at + 2) * LANE - 6 },
    `${desk.look.selected === task ? '> ' : ''}${taskName(task, history)}`.slice(0, 15))));
  const legend = dim('filled box: runs; dot: ready; line: waits; arrow: wakes, from whom to whom; ◆: woken by the outside' +
    (more > 0 ? `; ${more} tasks more` : ''));
  body.replaceChildren(picture, legend);
}

function stepsShown({ scene, recording, width }) {
  const room = Math.max(10, Math.floor((width - NAMES - 60) / COLUMN));
  const first = Math.max(recording.beginning + 1, Math.min(scene.step - Math.floor((room * 2) / 3), recording.last - room + 1));
  return [first, Math.min(first + room - 1, recording.last)];
}

/** The tasks that have a lane, and how many more there are. */
function lanesShown(desk, first, last) {
  const { scene, history } = desk;
  const seen = new Set(scene.now.tasks.keys());
  for (let step = first; step <= last; step++) seen.add(history.whoRan(step));
  seen.delete(undefined);
  const all = [...seen].filter((task) => desk.shows(task)).sort((a, b) => (a < b ? -1 : 1));
  const more = Math.max(0, all.length - MOST_LANES);
  const skipped = Math.max(0, Math.min(all.indexOf(desk.look.selected) - MOST_LANES / 2, more));
  return { lanes: all.slice(skipped, skipped + MOST_LANES), more };
}

function columnsOf({ recording, history }, first, last, lanes) {
  const columns = [];
  recording.eachStep(first, last, (step, records, mirror, applyUntil) => {
    const prelude = preludeOf(records);
    const wakes = records.filter(({ kind }, at) => at >= prelude && kind === 'ready');
    applyUntil(records.length);
    const states = new Map(lanes.map((task) => [task, mirror.tasks.get(task)?.state]));
    const ran = history.whoRan(step);
    if (ran !== undefined) states.set(ran, 'running');
    columns.push({ step, states, wakes, ran });
  });
  return columns;
}

function ranText(columns) {
  const ran = columns.map(({ step, ran }) => `${step} ${ran === undefined ? 'outside' : short(ran)}`);
  return `Who ran: ${ran.join(', ')}.`;
}

function drawHead(picture, step, away, x, height) {
  const isHere = away === 0;
  if (isHere) picture.append(svg('rect', { class: 'now', x, y: 16, width: COLUMN, height: height + 6 }));
  // Two numbers side by side would be read as one.
  if (isHere || (step % 5 === 0 && away > 2)) {
    picture.append(svg('text', { x: x + COLUMN / 2, y: 12, 'text-anchor': 'middle' }, isHere || step % 10 === 0 ? `${step}` : '·'));
  }
}

/** What is drawn in the lanes, as one path for each look: an element for each mark would be thousands. */
function waysOf(columns, lanes) {
  const ways = { lane: [], dot: [], box: [], arrow: [], tip: [] };
  columns.forEach(({ states, wakes }, at) => {
    const x = NAMES + at * COLUMN;
    lanes.forEach((task, lane) => {
      const y = middleOf(lane);
      switch (states.get(task)) {
        case 'running': return ways.box.push(`M${x + 1} ${y - 8}h${COLUMN - 2}v16h${2 - COLUMN}z`);
        case 'ready': return ways.dot.push(`M${x + COLUMN / 2} ${y}h0`);
        case 'blocked': return ways.lane.push(`M${x} ${y}h${COLUMN}`);
      }
      return undefined;
    });
    for (const wake of wakes) addWake(ways, wake, lanes, x + COLUMN / 2);
  });
  return ways;
}

function middleOf(lane) {
  return (lane + 1) * LANE + LANE / 2;
}

function addWake({ arrow, tip }, { task, by }, lanes, x) {
  const to = lanes.indexOf(task);
  const from = by.by === 'task' || by.by === 'exit' ? lanes.indexOf(by.number) : -1;
  if (to < 0) return;
  const y = middleOf(to);
  if (from < 0 || from === to) {
    tip.push(`M${x} ${y - 6}l5 6l-5 6l-5 -6z`);
    return;
  }
  const start = middleOf(from);
  const length = y > start ? -7 : 7;
  arrow.push(`M${x} ${start}V${y + length}`);
  tip.push(`M${x} ${y}l-4 ${length}l8 0z`);
}
