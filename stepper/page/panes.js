// The panes: each draws what is to be seen into its element. Whatever text is a trace's enters as text, never as HTML.

import { reasonOf } from './history.js';
import { ownLines } from './lesson.js';
import { sorted } from './mirror.js';
import {
  causeName, clockName, onName, place, plain, short, shownFile, siteName, taskName, thing, valueName,
} from './names.js';
import { preludeOf } from './scene.js';
import { told } from './telling.js';
import { drawTimeline } from './timeline.js';

/** In the order of their numbers on the keyboard. */
export const PANES = ['source', 'ready', 'sentence', 'loop', 'tasks', 'log', 'output', 'timeline', 'graph'];

const TITLES = {
  source: 'source', ready: 'ready queue, and who waits for what', sentence: 'the sentence', loop: 'the loop',
  tasks: 'tasks', log: 'log of calls', output: 'output', timeline: 'timeline', graph: 'who waits for whom',
};

export function titleOf(pane) {
  return TITLES[pane];
}

/** An element with properties, and with texts and elements in it. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  return fill(element, properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'click') element.addEventListener('click', value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.map((child) => (typeof child === 'string' ? plain(child) : child)));
  return element;
}

/**
 * Draws a pane. What it gives scrolls it to where one is to look: to be called when all are drawn, since it has the
 * browser lay out the whole page.
 */
export function draw(pane, desk, body) {
  return DRAW[pane](desk, body);
}

export function dim(text) {
  return el('p', { class: 'dim' }, text);
}

/** A button that selects a task. */
function taskButton(desk, task, text) {
  const isChosen = desk.look.selected === task;
  return el('button', { type: 'button', 'aria-pressed': `${isChosen}`, click: () => desk.select(task) }, text);
}

const DRAW = {
  source(desk, body) {
    const { recording } = desk;
    const { from, stop } = marksOf(desk);
    const focus = focusOf(desk, from, stop);
    if (!focus) {
      return body.replaceChildren(dim(
        "No line of the program's has been asked from yet, or the recording has no source text in it."));
    }
    const source = recording.sources.get(focus.file);
    if (!source) {
      return body.replaceChildren(
        el('p', {}, place(focus.file, focus.line)), dim('The recording does not have the text of this file.'));
    }
    const list = body.firstElementChild;
    if (list?.source !== source) body.replaceChildren(sourceList(source));
    const shown = body.firstElementChild;
    const newer = source.isNewer ? '  (newer than the program!)' : '';
    desk.setTitle('source', `source: ${focus.file}${newer}`);
    const standing = standingIn(desk, focus.file);
    const isAt = (mark, line) => mark?.file === focus.file && mark.line === line;
    for (const line of shown.marked) markLine(shown.children[line - 1], '', '', false);
    shown.marked = [...standing.keys()];
    for (const mark of [from, stop]) if (mark?.file === focus.file) shown.marked.push(mark.line);
    shown.marked = shown.marked.filter((line) => shown.children[line - 1]);
    for (const line of shown.marked) {
      const tasks = standing.get(line) ?? [];
      const names = tasks.map(short).join(' ');
      const who = names.length < 8 ? names : `${tasks.length}×`;
      const mark = (isAt(from, line) ? '▶' : '') + (isAt(stop, line) ? '■' : '');
      markLine(shown.children[line - 1], who, mark, mark !== '');
    }
    return () => centre(body, shown.children[focus.line - 1]);
  },

  ready(desk, body) {
    const { now } = desk.scene;
    const ready = now.ready();
    const runs = now.running === undefined ? el('span', { class: 'dim' }, 'nobody')
      : taskButton(desk, now.running, taskName(now.running, desk.history));
    const shown = ready.slice(0, 60).map((task) => el('li', {}, taskButton(desk, task, taskName(task, desk.history))));
    if (ready.length > 60) shown.push(el('li', {}, `+${ready.length - 60}`));
    if (ready.length === 0) shown.push(el('li', { class: 'dim' }, 'nobody'));
    const rows = desk.history.reasonsUntil(desk.scene.step).flatMap(({ on }) => waitRow(desk, on) ?? []);
    replaceKeepingFocus(body,
      el('div', {}, 'running'), el('ul', { class: 'boxes' }, el('li', { class: 'runs' }, runs)),
      el('div', {}, `ready: ${ready.length}${ready.length > 1 ? ', the head first' : ''}`),
      el('ol', { class: 'boxes' }, ...shown),
      el('ul', { class: 'waits', 'aria-label': 'who waits for what' }, ...rows));
  },

  sentence(desk, body) {
    const paragraphs = told(desk.history, desk.scene).map((text) => el('p', {}, text));
    const asides = desk.asides();
    replaceKeepingFocus(body, ...paragraphs, ...asides);
    // What is asked or told aside is to be seen, however much happens in the step.
    return () => { body.scrollTop = asides.length > 0 ? asides.at(-1).offsetTop - body.offsetTop - 8 : 0; };
  },

  loop(desk, body) {
    const { lines, marks } = desk.loopText;
    let list = body.firstElementChild;
    if (!list) {
      body.append((list = el('ol', { class: 'code' }, ...lines.map(({ number, text }) =>
        codeLine(number, text, text.trim().startsWith('//'))))));
    }
    for (const line of list.querySelectorAll('.here')) markLine(line, '', '', false);
    const at = marks.get(desk.scene.phase);
    if (at === undefined) return undefined;
    markLine(list.children[at], desk.scene.phase, '▶', true);
    return () => centre(body, list.children[at]);
  },

  tasks(desk, body) {
    const head = ['task', 'state', 'waits for', 'line', 'runs', 'woken by'];
    const waits = waitsByTask(desk.scene.now);
    let tasks = sorted(desk.scene.now.tasks).filter(({ id }) => desk.shows(id));
    if (desk.look.filter !== '') tasks = tasks.filter((task) => desk.passes(taskCells(desk, task, waits).join(' ')));
    // About the selected one: a thousand lines are not read, and take long to draw.
    const chosen = tasks.findIndex(({ id }) => id === desk.look.selected);
    const first = Math.max(0, Math.min(chosen - ROWS / 2, tasks.length - ROWS));
    const shown = tasks.slice(first, first + ROWS).map((task) => {
      const [name, ...cells] = taskCells(desk, task, waits);
      return el('tr', { class: desk.look.selected === task.id ? 'chosen' : undefined },
        el('th', { scope: 'row' }, taskButton(desk, task.id, name)),
        ...cells.map((cell, at) => el('td', { class: at === 0 ? task.state : undefined }, cell)));
    });
    const left = tasks.length - shown.length;
    const more = left > 0 ? [dim(`… ${left} more; f filters them`)] : [];
    replaceKeepingFocus(body, el('table', {},
      el('thead', {}, el('tr', {}, ...head.map((text) => el('th', { scope: 'col' }, text)))),
      el('tbody', {}, ...shown)), ...more);
    return () => body.querySelector('.chosen')?.scrollIntoView({ block: 'nearest' });
  },

  log(desk, body) {
    const { scene, recording } = desk;
    const rows = [];
    recording.eachStep(scene.step - (desk.look.filter === '' ? 40 : 400), scene.step, (step, records, mirror, applyUntil) => {
      const end = step === scene.step ? scene.done : records.length;
      const prelude = preludeOf(records);
      applyUntil(prelude);
      for (let at = prelude; at < end; at++) {
        const row = logRow(records[at], mirror);
        applyUntil(at + 1);
        if (!row || (row.task !== undefined && !desk.shows(row.task))) continue;
        const text = `${row.task === undefined ? '-' : short(row.task)} ${row.text}`;
        if (desk.passes(text)) rows.push({ step, text });
      }
    });
    body.replaceChildren(el('ol', { class: 'log' }, ...rows.slice(-80).map(({ step, text }) =>
      el('li', { class: step === scene.step ? 'this' : undefined },
        el('a', { href: `#step=${step}` }, `${step}`), ` ${text}`))));
    return () => { body.scrollTop = body.scrollHeight; };
  },

  output(desk, body) {
    const length = desk.history.outputAt(desk.scene.step);
    if (desk.output === undefined) {
      return body.replaceChildren(dim(length === undefined
        ? 'What the program wrote is known where the viewer started it.'
        : `The program had written ${length} bytes; what they were is not in this recording.`));
    }
    const text = new TextDecoder().decode(desk.output.subarray(0, length ?? desk.output.length));
    const note = length === undefined
      ? [dim('(of the whole run: the recording does not say what belongs to which step)')] : [];
    const lines = text.split('\n').map((line) => plain(line.replaceAll('\t', '    '))).join('\n');
    const pre = el('pre');
    pre.textContent = lines;
    body.replaceChildren(...note, pre);
    return () => { body.scrollTop = body.scrollHeight; };
  },

  timeline(desk, body) {
    drawTimeline(desk, body);
  },

  graph(desk, body) {
    const { now } = desk.scene;
    const links = linksOf(now);
    const cycles = cyclesIn(links);
    const inCycle = new Set(cycles.flat());
    const rows = cycles.map((cycle) => {
      const way = cycle.map((task) => `${short(task)} ─ ${links.get(task)[0].through} → `).join('');
      return el('p', { class: 'bad' }, `cycle: ${way}${short(cycle[0])}`);
    });
    for (const [task, targets] of links) {
      if (inCycle.has(task) || !desk.shows(task)) continue;
      const ways = targets.map(({ through, next }) => `─ ${through} → ${short(next)}`);
      rows.push(el('p', {}, `${short(task)} ${ways.join('  or  ')}`));
    }
    body.replaceChildren(...(rows.length > 0 ? rows : [dim('Nobody waits for another task.')]));
  },
};

/** Puts new elements in, and the focus where it was: on the same button, by its text. */
function replaceKeepingFocus(body, ...children) {
  const focused = body.contains(document.activeElement) ? document.activeElement.textContent : undefined;
  body.replaceChildren(...children);
  if (focused === undefined) return;
  const again = [...body.querySelectorAll('button')].find((button) => button.textContent === focused);
  (again ?? body).focus();
}

function codeLine(number, text, isComment) {
  return el('li', {},
    el('span', { class: 'who' }), el('span', { class: 'number' }, `${number}`), el('span', { class: 'mark' }),
    el('span', { class: isComment ? 'comment' : undefined }, text.replaceAll('\t', '    ')));
}

function sourceList(source) {
  const lines = source.text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  const list = el('ol', { class: 'code' }, ...lines.map((line, at) => codeLine(at + 1, line, false)));
  ownLines(lines).forEach((isOwn, at) => { list.children[at].hidden = isOwn; });
  list.source = source;
  list.marked = [];
  return list;
}

/** Marks a line of a text, or takes its marks away. */
function markLine(line, who, mark, isHere) {
  line.children[0].textContent = who;
  line.children[2].textContent = mark;
  line.classList.toggle('here', isHere);
  if (isHere) line.setAttribute('aria-current', 'true');
  else line.removeAttribute('aria-current');
}

/** Scrolls so that a line is in sight; in the middle, if it was not. */
function centre(body, line) {
  if (!line) return;
  const [top, bottom] = [line.offsetTop, line.offsetTop + line.offsetHeight];
  const margin = Math.min(60, body.clientHeight / 4);
  if (top >= body.scrollTop + margin && bottom <= body.scrollTop + body.clientHeight - margin) return;
  body.scrollTop = top - body.clientHeight / 2;
}

/** Where a task asked for something last, in a state: the innermost line that is the program's own. */
function stopOf(desk, task, mirror) {
  const { askedSite, askedStack } = mirror.tasks.get(task) ?? {};
  return askedSite === undefined ? undefined : programLine(desk, mirror, askedSite, askedStack);
}

function programLine({ recording }, { tables }, site, stack) {
  const call = tables.site(site);
  if (recording.sources.has(call.file)) return call;
  return tables.stack(stack).find(({ file }) => recording.sources.has(file)) ?? call;
}

function bornAt({ scene }, task) {
  const mirror = scene.before.tasks.has(task) ? scene.before : scene.now;
  const found = mirror.tasks.get(task);
  return found && mirror.tables.site(found.site);
}

/** The call from which the running task goes on, and the one at which it stops. */
function marksOf(desk) {
  const { scene } = desk;
  const { task } = scene;
  if (task === undefined) return {};
  const from = stopOf(desk, task, scene.before) ?? bornAt(desk, task);
  const asked = scene.records.slice(scene.prelude, scene.done)
    .findLast((record) => record.kind === 'begun' && record.task === task);
  return { from, stop: asked && programLine(desk, scene.now, asked.site, asked.stack) };
}

/** The line in the middle: where the running task is, else where the selected one waits. */
function focusOf(desk, from, stop) {
  const { scene, recording, history } = desk;
  const isKnown = (at) => at !== undefined && recording.sources.has(at.file);
  if (isKnown(stop)) return stop;
  if (isKnown(from)) return from;
  const tasks = [desk.look.selected].filter((task) => scene.now.tasks.has(task));
  for (let at = scene.step - 1, tries = 0; at >= recording.beginning && tries < 64; at--, tries++) {
    const ran = history.whoRan(at);
    if (ran !== undefined) {
      tasks.push(ran);
      break;
    }
  }
  for (const task of [...tasks, ...scene.now.tasks.keys()]) {
    const at = stopOf(desk, task, scene.now) ?? bornAt(desk, task);
    if (isKnown(at)) return at;
  }
  return stop ?? from;
}

/** Who is suspended on which line of a file. */
function standingIn(desk, file) {
  const { now } = desk.scene;
  const standing = new Map();
  for (const { id } of sorted(now.tasks)) {
    const at = desk.shows(id) ? stopOf(desk, id, now) : undefined;
    if (at?.file !== file) continue;
    if (standing.has(at.line)) standing.get(at.line).push(id);
    else standing.set(at.line, [id]);
  }
  return standing;
}

/** A reason, and who waits for it. */
function waitRow(desk, on) {
  const { now } = desk.scene;
  const reason = reasonOf(on);
  let waiting = sorted(now.calls).filter((call) => call.on && reasonOf(call.on) === reason);
  if (on.for === 'object') waiting = now.waiting(on.object);
  if (on.for === 'deadline') waiting.sort((a, b) => (a.on.time < b.on.time ? -1 : a.on.time > b.on.time ? 1 : 0));
  const isKnown = on.for !== 'object' || now.objects.has(on.object);
  if (!isKnown && waiting.length === 0) return undefined;
  const names = waiting.slice(0, 200).map((call) => waiterName(desk, call));
  if (waiting.length > 200) names.push(`${waiting.length - 200} more`);
  return el('li', {}, el('b', {}, headOf(desk, on)), ': ',
    names.length > 0 ? el('span', { class: 'who' }, names.join(', ')) : el('span', { class: 'dim' }, 'nobody waits'));
}

/** What is waited for, with who holds it and how much is in it. */
function headOf(desk, on) {
  const { now } = desk.scene;
  switch (on.for) {
    case 'exit': return 'ends of tasks';
    case 'deadline': return 'clock';
    case 'fd': return `fd ${on.fd}`;
    case 'somebody': return "somebody's answer";
  }
  let head = thing(on.object, now);
  const field = (name) => now.field(on.object, name);
  const [holder, count, capacity, free] = [field('holder'), field('count'), field('capacity'), field('free')];
  if (holder?.is === 'held') {
    const who = holder.task === undefined ? 'somebody' : short(holder.task);
    head += ` held by ${who} since ${siteName(holder.since, now)}`;
  } else if (holder) head += ' free';
  if (count?.is === 'count') {
    head += capacity?.is === 'count' ? ` ${count.number} of ${capacity.number}` : ` holds ${count.number}`;
  }
  if (free?.is === 'count' && !holder) head += ` ${free.number} free`;
  return head;
}

function waiterName(desk, { task, on }) {
  const who = task === undefined ? 'nobody' : short(task);
  if (on.for === 'deadline') return `${who} until ${clockName(on.time)}`;
  if (on.for === 'exit') return `${who} for T${on.task}`;
  if (on.role === undefined) return who;
  const role = desk.scene.now.tables.str(on.role);
  return role === 'token' ? who : `${who} to ${role}`;
}

/** So many tasks are shown: to lay out more takes longer than one waits for a step. */
const ROWS = 60;

const STATES = { running: 'R running', ready: 'r ready', blocked: 'b blocked' };

function waitsByTask({ calls }) {
  const waits = new Map();
  for (const call of calls.values()) {
    if (!call.on) continue;
    if (waits.has(call.task)) waits.get(call.task).push(call);
    else waits.set(call.task, [call]);
  }
  return waits;
}

function taskCells(desk, task, waits) {
  const { now } = desk.scene;
  const reasons = (waits.get(task.id) ?? []).map(({ on }) => onName(on, now));
  const none = task.state === 'blocked' ? "somebody's waker" : '-';
  const stop = stopOf(desk, task.id, now);
  return [
    `${taskName(task.id, desk.history)}${task.daemon ? ' daemon' : ''}`,
    STATES[task.state],
    reasons.length === 0 ? none : reasons.join(' or '),
    stop ? place(stop.file, stop.line) : siteName(task.site, now),
    `${task.dispatches}`,
    task.wokenBy ? `${causeName(task.wokenBy, now)}, step ${task.wokenStep}` : '-',
  ];
}

/** What the log says of a record. `mirror` is the state before it. */
function logRow(record, mirror) {
  const call = mirror.calls.get(record.call);
  const asked = call && `${mirror.tables.str(call.what)}(${valueName(call.argument, mirror)})`;
  switch (record.kind) {
    case 'born': {
      const parent = record.parent === undefined ? 'the program' : short(record.parent);
      return { task: record.task, text: `born of ${parent}` };
    }
    case 'ended': return { task: record.task, text: record.how };
    case 'blocked': {
      const at = siteName(call.site, mirror);
      return { task: call.task, text: `${asked} … waits for ${onName(record.on, mirror)}  ${at}` };
    }
    case 'answered': {
      const reply = valueName(record.reply, mirror);
      const answer = reply === '' ? '' : ` = ${reply}`;
      const text = call.on ? `… ${asked}${answer}, woken by ${causeName(record.by, mirror)}`
        : `${asked}${answer}  ${siteName(call.site, mirror)}`;
      return { task: call.task, text };
    }
    case 'withdrawn': return { task: call.task, text: `… ${asked} dropped` };
    case 'end': {
      const text = { 2: 'the run is over', 3: 'deadlock' }[record.how];
      return text && { task: undefined, text };
    }
  }
  return undefined;
}

/** For each task that waits for others: through which thing, and for whom. */
function linksOf(mirror) {
  const links = new Map();
  for (const { task, on } of sorted(mirror.calls)) {
    if (task === undefined || !on) continue;
    let link;
    if (on.for === 'exit') link = { through: 'its end', next: on.task };
    const holder = on.for === 'object' ? mirror.field(on.object, 'holder') : undefined;
    if (holder?.is === 'held' && holder.task !== undefined) {
      link = { through: thing(on.object, mirror), next: holder.task };
    }
    if (!link) continue;
    if (links.has(task)) links.get(task).push(link);
    else links.set(task, [link]);
  }
  return new Map([...links].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The circles among tasks that wait for one other each, from their lowest number on. */
function cyclesIn(links) {
  const seen = new Set();
  const cycles = [];
  for (const start of links.keys()) {
    const path = [];
    let at = start;
    while (at !== undefined && !seen.has(at)) {
      seen.add(at);
      path.push(at);
      const next = links.get(at);
      at = next?.length === 1 ? next[0].next : undefined;
    }
    const first = path.indexOf(at);
    if (at !== undefined && first >= 0) cycles.push(path.slice(first));
  }
  return cycles;
}
