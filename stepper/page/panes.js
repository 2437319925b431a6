// The panes: each draws what is to be seen into its element. Whatever text is a trace's enters as text, never as HTML.

import { reasonOf } from './history.js';
import { ownLines } from './lesson.js';
import { sorted } from './mirror.js';
import {
  causeName, clockName, onName, place, plain, plural, short, shownFile, siteName, taskName, thing, valueName,
} from './names.js';
import { preludeOf } from './scene.js';
import { told } from './telling.js';
import { drawTimeline } from './timeline.js';

/** In the order of their keys: from 1 to 9, then 0. */
export const PANES = [
  'source', 'ready', 'sentence', 'loop', 'tasks', 'log', 'output', 'timeline', 'graph', 'waiting',
];

/** The digit that opens and closes a pane. */
export function digitOf(pane) {
  return `${(PANES.indexOf(pane) + 1) % 10}`;
}

export function paneOf(digit) {
  return PANES[(Number(digit) + 9) % 10];
}

/** Where each pane is on the page, in the order in which it is read. The text of a lesson stands beside the source. */
const ROOMS = {
  top: ['sentence'], left: ['source', 'loop'], right: ['lesson', 'ready', 'waiting', 'log', 'output', 'graph'],
  wide: ['tasks', 'timeline'],
};

/** Puts the panes into the page. */
export function furnish(main, onFocus) {
  const room = (name) => el('div', { id: `room-${name}` }, ...ROOMS[name].map((pane) => section(pane, onFocus)));
  main.append(room('top'), el('div', { id: 'columns' }, room('left'), room('right')), room('wide'));
}

function section(pane, onFocus) {
  const live = pane === 'sentence' || pane === 'lesson' ? 'polite' : undefined;
  const made = el('section', { id: `pane-${pane}`, 'aria-labelledby': `title-${pane}`, hidden: true },
    el('h2', { id: `title-${pane}` }, titleOf(pane)),
    el('div', { id: `body-${pane}`, tabindex: '0', 'aria-live': live, role: 'group', 'aria-labelledby': `title-${pane}` }));
  if (pane !== 'lesson') made.addEventListener('focusin', () => onFocus(pane));
  return made;
}

const TITLES = {
  source: 'source', ready: 'ready queue, and who waits for what', waiting: 'what is waited for, and by whom',
  sentence: 'the sentence', loop: 'the loop', tasks: 'tasks', lesson: 'lesson', log: 'log of calls', output: 'output', timeline: 'timeline', graph: 'who waits for whom',
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

/** The text of the stop at which the lesson is, beside the source; the answer once it is asked for. */
export function drawLesson(desk, section, body) {
  const stop = desk.lesson?.stops[desk.stop];
  section.hidden = !stop;
  if (!stop) return;
  desk.setTitle('lesson', `${desk.stop + 1} of ${desk.lesson.stops.length}: ${desk.lesson.title}`);
  const paragraphs = stop.text.filter((line) => line !== '').map((line) => el('p', {}, ...marked(line)));
  if (stop.question) paragraphs.push(el('p', {}, el('b', {}, ...marked(stop.question))));
  if (stop.answer && desk.isAnswerShown) paragraphs.push(el('p', { class: 'aside' }, ...marked(stop.answer)));
  else if (stop.answer) {
    paragraphs.push(el('button', { type: 'button', click: () => desk.showAnswer() }, 'answer (Enter, =)'));
  }
  if (desk.stopStep !== desk.scene.step) {
    paragraphs.unshift(el('p', { class: 'dim' }, `(of step ${desk.stopStep})`));
  }
  // Said anew only where it is another text.
  const text = paragraphs.map(({ textContent }) => textContent).join('\n');
  if (body.told === text) return;
  body.told = text;
  replaceKeepingFocus(body, ...paragraphs);
}

/** A text with `code` and *words* that are stressed. */
function marked(text) {
  return text.split(/(`[^`]+`|\*\w[^*]*\*)/).map((part, at) => {
    if (at % 2 === 0) return part;
    return el(part.startsWith('`') ? 'code' : 'em', {}, part.slice(1, -1));
  });
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
    const { from, stop, next } = marksOf(desk);
    const focus = focusOf(desk, from, stop ?? next);
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
    for (const mark of [from, stop, next]) if (mark?.file === focus.file) shown.marked.push(mark.line);
    shown.marked = shown.marked.filter((line) => shown.children[line - 1]);
    for (const line of shown.marked) {
      const tasks = standing.get(line) ?? [];
      const names = tasks.map(short).join(' ');
      const who = names.length < 9 ? names : `${tasks.length}×`;
      // It goes on from here, and where it will stop is not known yet: within a step, or in the one that is to come.
      const isOpen = isAt(next, line) || (isAt(from, line) && !desk.scene.isWhole && !stop);
      const mark = (isAt(from, line) ? '▶' : '') + (isAt(stop, line) ? '■' : '') + (isOpen ? '?' : '');
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
    // Where there is a pane for them alone, who waits is told there.
    const waits = desk.open.has('waiting') ? [] : [waitTables(desk)];
    desk.setTitle('ready', waits.length === 0 ? 'ready queue' : titleOf('ready'));
    replaceKeepingFocus(body,
      el('div', { class: 'queue' },
        el('div', {}, el('div', {}, 'running'), el('ul', { class: 'boxes' }, el('li', { class: 'runs' }, runs))),
        el('div', {}, el('div', {}, `ready: ${ready.length}${ready.length > 1 ? ', the head first' : ''}`),
          el('ol', { class: 'boxes' }, ...shown))),
      ...waits);
  },

  waiting(desk, body) {
    body.replaceChildren(waitTables(desk));
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
    body.replaceChildren(el('ol', { class: 'log' }, ...logRows(desk).slice(-80).map(({ step, who, text }) =>
      el('li', { class: step === desk.scene.step ? 'this' : undefined },
        el('a', { href: `#step=${step}` }, `${step}`), ` ${who} ${text}`))));
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

/**
 * The call from which the running task goes on, and the one at which it stops. Where a program is held, the one from
 * which the next step goes on: where that stops, nobody knows yet.
 */
function marksOf(desk) {
  const { scene } = desk;
  const { task, now } = scene;
  const runs = now.running ?? now.ready()[0];
  const next = desk.isHeld && desk.isAtEdge && runs !== undefined ? stopOf(desk, runs, now) ?? bornAt(desk, runs) : undefined;
  if (task === undefined) return { next };
  const from = stopOf(desk, task, scene.before) ?? bornAt(desk, task);
  const asked = scene.records.slice(scene.prelude, scene.done)
    .findLast((record) => record.kind === 'begun' && record.task === task);
  return { from, next, stop: asked && programLine(desk, now, asked.site, asked.stack) };
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

/** So many rows are shown of what is waited for. */
const WAITS = 150;

/** A row for each reason to wait, in the order in which they came up first, so that none jumps about. */
function waitTables(desk) {
  let rows = waitRows(desk);
  // Where they are too many, those in which nobody waits are left out.
  if (rows.length > WAITS) rows = rows.filter(({ who }) => who.length > 0);
  const shown = rows.slice(0, WAITS).map((row) => waitRow(desk, row));
  if (rows.length > WAITS) shown.push(el('li', { class: 'dim' }, `… ${rows.length - WAITS} more`));
  if (shown.length === 0) shown.push(el('li', { class: 'dim' }, 'There is nothing to wait for yet.'));
  return el('ul', { class: 'waits', 'aria-label': 'who waits for what' }, ...shown);
}

function waitRows(desk) {
  const { now, step } = desk.scene;
  const waiting = new Map();
  for (const call of sorted(now.calls)) {
    if (!call.on) continue;
    const reason = reasonOf(call.on);
    if (waiting.has(reason)) waiting.get(reason).push(call);
    else waiting.set(reason, [call]);
  }
  const wholes = wholesIn(now);
  const rows = new Map();
  for (const { reason, on } of desk.history.reasonsUntil(step)) {
    const who = waiting.get(reason) ?? [];
    const part = on.for === 'object' ? now.objects.get(on.object) : undefined;
    if (on.for === 'object' && !part && who.length === 0) continue;
    if (on.for === 'deadline') who.sort((a, b) => (a.on.time < b.on.time ? -1 : a.on.time > b.on.time ? 1 : 0));
    else who.sort((a, b) => a.order - b.order);
    const whole = part && wholeOf(part, now, wholes);
    const [of, word] = whole ? [`object ${whole.id}`, partWord(part, whole, now)] : [reason, undefined];
    if (!rows.has(of)) rows.set(of, { on: whole ? { for: 'object', object: whole.id } : on, who: [] });
    rows.get(of).who.push(...who.map((call) => ({ call, word })));
  }
  return [...rows.values()];
}

/**
 * The things that say how much is in them, by where they were made; null for a line that made several.
 *
 * Who waits for something of a channel waits in a queue of its own, which is a thing, too: it was made at the same line.
 */
function wholesIn(now) {
  const wholes = new Map();
  for (const object of now.objects.values()) {
    if (object.name !== undefined || object.site === undefined) continue;
    if (now.field(object.id, 'count') === undefined && now.field(object.id, 'version') === undefined) continue;
    const site = siteKey(object, now);
    wholes.set(site, wholes.has(site) ? null : object);
  }
  return wholes;
}

function siteKey(object, now) {
  const { file, line, column } = now.tables.site(object.site);
  return `${file}:${line}:${column}`;
}

/** The thing of which this is the queue. */
function wholeOf(part, now, wholes) {
  if (part.name !== undefined || part.site === undefined || part.fields.size > 0) return undefined;
  const whole = wholes.get(siteKey(part, now));
  return whole && whole.id !== part.id ? whole : undefined;
}

/** "room", of "room in a channel". */
function partWord(part, whole, now) {
  const [word, kind] = [now.tables.str(part.sort), now.tables.str(whole.sort)];
  const end = [` of a ${kind}`, ` in a ${kind}`].find((text) => word.includes(text));
  return end === undefined ? word : word.slice(0, word.indexOf(end));
}

/** The rows as text, as the terminal has them. */
export function waitTexts(desk) {
  return waitRows(desk).map((row) => waitText(desk, row).map((text) => (text === '' ? 'nobody waits' : text)).join(': '));
}

function waitRow(desk, row) {
  const [head, who] = waitText(desk, row);
  return el('li', {}, el('b', {}, head), ': ',
    who === '' ? el('span', { class: 'dim' }, 'nobody waits') : el('span', { class: 'who' }, who));
}

/** A reason, and who waits for it; those who wait for the same in one go: "T1, T2 to read, T3 to write". */
function waitText(desk, { on, who }) {
  const groups = new Map();
  for (const { call, word } of who.slice(0, 200)) {
    const what = waitWord(desk, call.on, word);
    const task = call.task === undefined ? 'nobody' : short(call.task);
    if (groups.has(what)) groups.get(what).push(task);
    else groups.set(what, [task]);
  }
  const names = [...groups].map(([what, tasks]) => tasks.join(', ') + what);
  if (who.length > 200) names.push(`${who.length - 200} more`);
  return [headOf(desk, on), names.join(', ')];
}

/** For what of it a call waits, as the end of a name: " until 2.000 s". */
function waitWord(desk, on, word) {
  if (word !== undefined) return ` for ${word}`;
  if (on.for === 'deadline') return ` until ${clockName(on.time)}`;
  if (on.for === 'exit') return ` for T${on.task}`;
  if (on.role === undefined) return '';
  const role = desk.scene.now.tables.str(on.role);
  return role === 'token' ? '' : ` to ${role}`;
}

/** What is waited for; and who holds it, and how much is in it. */
function headOf(desk, on) {
  const { now } = desk.scene;
  switch (on.for) {
    case 'exit': return 'ends of tasks';
    case 'deadline': return 'clock';
    case 'fd': return `fd ${on.fd}`;
    case 'somebody': return "somebody's answer";
  }
  const state = now.objects.has(on.object) ? stateOf(on.object, now) : [];
  // Where each row is a thing, no article is needed.
  return thing(on.object, now).replace(/^the /, '') + (state.length > 0 ? ` ${state.join(', ')}` : '');
}

/** How a thing stands, as its fields tell. */
function stateOf(object, now) {
  const count = (name) => {
    const value = now.field(object, name);
    return value?.is === 'count' ? value.number : undefined;
  };
  const [holder, holders, within, most, free] =
    [now.field(object, 'holder'), ...['holders', 'count', 'capacity', 'free'].map(count)];
  const words = [];
  if (within !== undefined) words.push(`holds ${within}${most === undefined ? '' : ` of ${most}`}`);
  if (free !== undefined) words.push(`with ${free} free`);
  if (holder?.is === 'held') {
    const others = holders > 1 ? ` and ${plural(holders - 1, 'other')}` : '';
    const who = holder.task === undefined ? 'somebody' : short(holder.task);
    words.push(`held by ${who}${others} since ${siteName(holder.since, now)}`);
  } else if (holder && free === undefined) words.push('free');
  if (count('version') !== undefined) words.push(`version ${count('version')}`);
  if (count('set') !== undefined) words.push(count('set') > 0 ? 'set' : 'not set');
  if (count('closed') > 0) words.push('closed');
  return words;
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

/** The log of the last steps up to where one is. */
export function logRows(desk) {
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
      const who = row.task === undefined ? '-' : short(row.task);
      if (desk.passes(`${who} ${row.text}`)) rows.push({ step, who, text: row.text });
    }
  });
  return rows;
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
    // What did not trap, either.
    case 'done': {
      const operation = mirror.tables.str(record.operation);
      if (operation === 'bytes') return undefined;
      // That it was done is said already.
      const isPlain = ['nothing', 'count'].includes(record.result.is);
      const what = `${operation}(${thing(record.object, mirror)})${isPlain ? '' : ` = ${valueName(record.result, mirror)}`}`;
      return { task: mirror.running, text: `${what}, no trap  ${siteName(record.site, mirror)}` };
    }
    case 'set': {
      const { object, value: { is, task, since } } = record;
      if (is !== 'held') return undefined;
      const name = thing(object, mirror);
      const text = task === undefined || task === mirror.running ? `takes ${name}, no trap  ${siteName(since, mirror)}`
        : `gives ${name} to ${short(task)}`;
      return { task: mirror.running, text };
    }
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
