// The desk: what the user has before them, and what the keys do to it.

import { FORMS, Search, nearestPlace, parseBreakpoint } from './breakpoint.js';
import { History } from './history.js';
import { lessonOf, stepOf } from './lesson.js';
import { clockName, plain, plural, taskName } from './names.js';
import { PANES, digitOf, draw, drawLesson, el, furnish, paneOf, titleOf } from './panes.js';
import { Score, questionAfter, why } from './asking.js';
import { Recording } from './recording.js';
import { sceneAt } from './scene.js';

/** Steps a second. */
const SPEEDS = [1, 2, 4, 8, 16, 32, 64, 128];

/** A button that is there where a program takes orders. */
const ORDER = 'order';

/** What the keys do: the key, what `aria-keyshortcuts` calls it, what it does, in words, and whether it has a button. */
const KEYS = [
  ['Home', 'first', 'to the beginning', (desk) => desk.go(desk.recording.beginning), true],
  ['p', '◀ step', 'previous step', (desk) => desk.previousStep(), true],
  ['P', '◀ phase', 'previous phase of the loop', (desk) => desk.previousPhase(), true],
  [' ', 'play', 'runs and pauses', (desk) => desk.play(), true],
  ['N', 'phase ▶', 'next phase of the loop', (desk) => desk.nextPhase(), true],
  ['n', 'step ▶', 'next step', (desk) => desk.nextStep(), true],
  ['End', 'last', 'to the last step, and with a program that runs', (desk) => desk.goLast(), true],
  ['g', 'go to', 'goes to a step by its number', (desk) => desk.ask('step'), true],
  ['T', '◀ task', 'previous step of the selected task', (desk) => desk.stepOfSelected(false), true],
  ['t', 'task ▶', 'next step of the selected task', (desk) => desk.stepOfSelected(true), true],
  ['b', 'breakpoint', `sets a breakpoint: ${FORMS}; - removes all`, (desk) => desk.ask('breakpoint'), true],
  ['C', '◀ continue', 'goes back to the last step that meets a breakpoint', (desk) => desk.search(false), true],
  ['c', 'continue ▶', 'goes on to the next step that meets a breakpoint', (desk) => desk.search(true), true],
  ['G', 'go/hold', 'lets the program go on, or holds it', (desk) => desk.order(desk.live?.status.held === null ? 'hold' : 'go'), ORDER],
  ['K', 'kill', 'kills the selected task', (desk) => desk.orderTask('kill'), ORDER],
  ['X', 'cancel', 'asks the selected task to end', (desk) => desk.orderTask('cancel'), ORDER],
  ['F', 'run next', 'puts the selected task first in the ready queue', (desk) => desk.orderTask('next'), ORDER],
  ['R', 'again', 'builds and starts the program anew, and goes to the same step', (desk) => desk.again(), ORDER],
  ['w', 'why?', 'why is the selected task not running?', (desk) => desk.askWhy(), true],
  ['x', 'predict', 'asks what comes next', (desk) => desk.predict(), true],
  ['l', 'lesson ▶', 'next stop of the lesson', (desk) => desk.nextStop(1), true],
  ['L', '◀ lesson', 'stop of the lesson before', (desk) => desk.nextStop(-1), true],
  ['=', 'answer', 'shows the answer of the lesson', (desk) => desk.showAnswer(), false],
  ['f', 'filter', 'shows only what has a text in it', (desk) => desk.ask('filter'), true],
  ['h', 'hide', "hides tasks that are not the program's", (desk) => desk.hide(), true],
  ['z', 'zoom', 'lets the pane fill the window', (desk) => desk.zoom(), true],
  ['d', 'dark', 'dark and light', (desk) => desk.changeTheme(), true],
  ['?', 'help', 'all keys', (desk) => desk.help(), true],
  ['j', '', 'next step, too', (desk) => desk.nextStep(), false],
  ['k', '', 'previous step, too', (desk) => desk.previousStep(), false],
  ['ArrowDown', '', 'selects the task below', (desk) => desk.selectNext(1), false],
  ['ArrowUp', '', 'selects the task above', (desk) => desk.selectNext(-1), false],
  ['+', '', 'plays faster', (desk) => desk.setSpeed(desk.speed + 1), false],
  ['-', '', 'plays slower', (desk) => desk.setSpeed(desk.speed - 1), false],
  ['Escape', '', 'leaves what is asked', (desk) => desk.leave(), false],
];

const PROMPTS = {
  step: () => 'go to step:',
  breakpoint: () => `breakpoint (${FORMS}; - removes all):`,
  filter: () => 'only what has this in it:',
  cancel: () => 'why is it to end?',
};

/** So long one reads, in milliseconds, until keys are heard again and what has changed is painted. */
const SLICE = 12;

function nextTurn() {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = resolve;
    port2.postMessage(undefined);
  });
}

const byId = (id) => document.getElementById(id);

export class Desk {
  constructor({ loopText, output }) {
    this.loopText = readLoop(loopText);
    this.output = output;
    this.live = undefined;
    this.empty();
    this.look = { selected: undefined, filter: '', hides: false };
    this.open = new Set(['source', 'ready', 'sentence']);
    this.current = 'source';
    this.score = new Score();
    this.question = undefined;
    this.verdict = undefined;
    this.points = [];
    this.speed = 1;
    this.isPlaying = false;
    this.lesson = undefined;
    this.stop = -1;
    this.isAnswerShown = false;
    this.buildFrame();
  }

  /** Nothing has been read, of this run or of another. */
  empty() {
    this.history = new History();
    this.recording = new Recording((step, record, mirror) => this.history.note(step, record, mirror));
    this.scene = undefined;
    this.isLoading = true;
    // Whether what is shown moves on with a program that does.
    this.follows = false;
    this.running = undefined;
  }

  // The frame: what is always there.

  buildFrame() {
    for (const [key, word, what, act, hasButton] of KEYS) {
      if (!hasButton) continue;
      const shown = key === ' ' ? 'Space' : key;
      byId('moves').append(el('button', {
        type: 'button', id: `key-${shown}`, class: hasButton === ORDER ? ORDER : undefined, title: `${what} (${shown})`, 'aria-keyshortcuts': shown,
        click: () => this.act(key, act),
      }, word, ' ', el('kbd', {}, shown)));
    }
    PANES.forEach((pane) => {
      byId('toggles').append(el('button', {
        type: 'button', id: `toggle-${pane}`, 'aria-keyshortcuts': digitOf(pane), click: () => this.toggle(pane),
      }, el('kbd', {}, digitOf(pane)), ` ${pane}`));
    });
    furnish(byId('panes'), (pane) => this.setCurrent(pane));
    byId('panes').append(el('dialog', { id: 'help', 'aria-label': 'keys' }));
    byId('prompt').addEventListener('submit', (event) => {
      event.preventDefault();
      this.enter();
    });
    byId('prompt-leave').addEventListener('click', () => this.leave());
    document.addEventListener('keydown', (event) => this.press(event));
    window.addEventListener('hashchange', () => this.readHash());
    window.addEventListener('resize', () => this.redraw());
    this.readQuery();
    this.arrange();
  }

  /** `?panes=ready,log`: only these, for embedding. */
  readQuery() {
    const words = new URLSearchParams(location.search).get('panes');
    if (words === null) return;
    document.body.classList.add('embedded');
    this.openOnly(words.split(','));
  }

  openOnly(words) {
    const panes = words.filter((word) => PANES.includes(word));
    if (panes.length === 0) return;
    this.open = new Set(panes);
    this.current = panes[0];
  }

  arrange() {
    for (const pane of PANES) {
      const section = byId(`pane-${pane}`);
      section.hidden = !this.open.has(pane);
      section.classList.toggle('current', pane === this.current);
      byId(`toggle-${pane}`).setAttribute('aria-pressed', `${this.open.has(pane)}`);
    }
  }

  setCurrent(pane) {
    if (this.current === pane) return;
    this.current = pane;
    for (const other of PANES) byId(`pane-${other}`).classList.toggle('current', other === pane);
  }

  setTitle(pane, text) {
    byId(`title-${pane}`).textContent = plain(text);
  }

  say(message) {
    byId('message').textContent = plain(message);
  }

  // Loading.

  /** Takes more of the trace's bytes, and reads them, with pauses in which keys are heard. */
  async load(bytes, isAll) {
    const { recording } = this;
    recording.push(bytes);
    // Before that there is no header.
    if (!isAll && recording.bytes.length < 12) return;
    for (;;) {
      const until = performance.now() + SLICE;
      const isMore = recording.advance(() => performance.now() > until);
      if (!this.scene && recording.segments.length > 0) this.begin();
      if (!isMore) break;
      this.drawPosition();
      await nextTurn();
    }
    if (this.isLoading && (isAll || this.live?.hasCome(recording.bytes.length))) {
      this.isLoading = false;
      this.begin();
    } else this.grown ??= setTimeout(() => this.growOn(), SLICE);
  }

  growOn() {
    this.grown = undefined;
    if (this.follows) this.goLast();
    else this.drawPosition();
  }

  begin() {
    this.lesson = lessonOf(this.recording, this.history);
    const program = this.recording.properties.get('program');
    if (program !== undefined) byId('title').textContent = plain(program.split('/').at(-1));
    if (!this.scene) {
      this.say(this.lesson ? `lesson: ${this.lesson.title} (l: next stop, ?: keys)` : 'n: next step, p: previous, ?: all keys');
    }
    const { step } = this.scene ?? {};
    if (!this.readHash() && step === undefined) this.go(this.recording.beginning);
    if (this.recording.damage && !this.isLoading) this.say(this.recording.damageText());
    this.redraw();
  }

  /** `#step=118&phase=2&task=8`. Whether there is a step in it. */
  readHash() {
    const words = new URLSearchParams(location.hash.slice(1));
    const number = (word) => (/^\d{1,15}$/.test(words.get(word) ?? '') ? Number(words.get(word)) : undefined);
    const [step, task] = [number('step'), number('task')];
    if (task !== undefined) this.look.selected = task;
    if (step === undefined) return false;
    if (this.scene?.step !== step || this.scene?.phases !== number('phase')) this.go(step, number('phase'));
    return true;
  }

  writeHash() {
    const { step, phases } = this.scene;
    const phase = phases === undefined ? '' : `&phase=${phases}`;
    const task = this.look.selected === undefined ? '' : `&task=${this.look.selected}`;
    const hash = `#step=${step}${phase}${task}`;
    // While it loads, the step that is wanted may still be to come.
    if (!this.isLoading && location.hash !== hash) window.history.replaceState(null, '', hash);
  }

  // Drawing.

  redraw() {
    if (!this.scene) return;
    // What the browser is asked to measure, it is asked before anything is changed, and after everything is.
    this.width = byId('panes').clientWidth;
    this.drawPosition();
    drawLesson(this, byId('pane-lesson'), byId('body-lesson'));
    const scrolls = [...this.open].map((pane) => draw(pane, this, byId(`body-${pane}`)));
    for (const scroll of scrolls) scroll?.();
  }

  drawPosition() {
    const { scene, recording } = this;
    if (!scene) return;
    const words = [`step ${scene.step} of ${recording.last}${this.isLoading ? '+ (loading)' : ''}`];
    if (this.isAtEdge) words[0] = `LIVE step ${scene.step}`;
    if (!scene.isWhole) words.push(scene.phase ? `in ${scene.phase}` : 'before pick');
    words.push(`clock ${clockName(scene.now.clock)}`);
    const quantum = this.quantum();
    if (quantum) words.push(`quantum ${quantum}`);
    const seed = recording.properties.get('seed');
    if (seed && seed !== '0') words.push(`seed ${seed}`);
    if (this.live) words.push(this.live.status.doing, this.live.status.others ?? []);
    if (this.look.filter !== '') words.push(`filter ${this.look.filter}`);
    byId('position').textContent = plain(words.flat().join(' · '));
  }

  /** How much of its quantum the running task has left: each call that is answered at once takes one. */
  quantum() {
    const whole = Number(this.recording.properties.get('quantum'));
    const { now, records, done, step } = this.scene;
    if (!whole || now.running === undefined) return undefined;
    const over = records.slice(0, done);
    let spent = over.filter((record) => record.kind === 'begun' && record.task === now.running).length;
    // It may have been taken in a step before.
    if (!over.some(({ kind }) => kind === 'taken')) spent += this.history.spentAt(step - 1);
    return `${Math.max(0, whole - spent)} of ${whole} left`;
  }

  /** What is said beside the sentence: an answer, a question, the text of a lesson. */
  asides() {
    const asides = [];
    if (this.verdict) asides.push(el('p', { class: 'aside' }, this.verdict));
    if (this.question) {
      const buttons = this.question.answers.map((text, at) =>
        el('button', { type: 'button', click: () => this.answer(at) }, el('kbd', {}, `${at + 1}`), ` ${text}`));
      asides.push(el('div', { class: 'aside' }, el('p', {}, this.question.text),
        el('div', { class: 'answers', role: 'group', 'aria-label': 'answers' }, ...buttons)));
    }
    return asides;
  }

  /** Whether the task is to be shown. */
  shows(task) {
    const { scene, recording, look } = this;
    const mirror = scene.now.tasks.has(task) ? scene.now : scene.before;
    const found = mirror.tasks.get(task);
    if (!look.hides || !found) return true;
    const { file } = mirror.tables.site(found.site);
    if (recording.sources.size > 0) return recording.sources.has(file);
    return !file.includes('/registry/') && !file.includes('/rustc/');
  }

  passes(line) {
    return line.includes(this.look.filter);
  }

  // Moving.

  /** Goes to a place. What was said about another is no longer said. */
  go(step, phases) {
    this.verdict = undefined;
    this.question = undefined;
    this.follows = false;
    this.scene = sceneAt(this.recording, this.history, this.recording.nearest(step), phases, this.isHeld);
    if (this.scene.isWhole && this.history.closesCycle(this.scene.step) && !this.open.has('graph') &&
        !document.body.classList.contains('embedded')) {
      this.open.add('graph');
      this.arrange();
      this.say('a cycle has closed: the graph shows it');
    }
    this.writeHash();
    this.redraw();
  }

  /** To the last step; and on with a program that runs. */
  goLast() {
    this.go(this.recording.last);
    this.follows = this.isLive;
  }

  goOrSay(step, phases, otherwise) {
    if (step !== undefined) this.go(step, phases);
    else this.say(this.isLoading ? `${otherwise} that has been loaded` : otherwise);
    return step !== undefined;
  }

  nextStep() {
    const { isWhole, step } = this.scene;
    const next = isWhole ? this.recording.next(step) : step;
    // Whoever follows the program may be a moment behind it.
    if (this.isAtEdge && (next === undefined || this.follows)) return (this.follows = this.live.step());
    return this.goOrSay(next, undefined, 'this is the last step');
  }

  previousStep() {
    return this.goOrSay(this.recording.previous(this.scene.step), undefined, 'this is the beginning');
  }

  nextPhase() {
    const { isWhole, step, over } = this.scene;
    if (!isWhole) this.go(step, over + 1);
    else this.goOrSay(this.recording.next(step), 1, 'this is the last step');
  }

  previousPhase() {
    const { over, step } = this.scene;
    if (over > 1) this.go(step, over - 1);
    else this.previousStep();
  }

  stepOfSelected(isForward) {
    const task = this.look.selected ?? this.scene.task;
    if (task === undefined) return this.say('choose a task first, with the keys up and down');
    this.look.selected = task;
    const { step } = this.scene;
    const found = isForward ? this.history.nextOf(task, step) : this.history.previousOf(task, step);
    return this.goOrSay(found, undefined, `T${task} does not run ${isForward ? 'after' : 'before'} this`);
  }

  select(task) {
    this.look.selected = task;
    this.verdict = undefined;
    this.writeHash();
    this.redraw();
    this.say(`${taskName(task, this.history)} is selected (w: why is it not running?, t, T: its steps)`);
  }

  selectNext(by) {
    const tasks = [...this.scene.now.tasks.keys()].filter((task) => this.shows(task)).sort((a, b) => (a < b ? -1 : 1));
    if (tasks.length === 0) return;
    const at = tasks.indexOf(this.look.selected);
    const next = at < 0 ? (by > 0 ? 0 : tasks.length - 1) : Math.min(Math.max(at + by, 0), tasks.length - 1);
    this.select(tasks[next]);
  }

  play() {
    this.isPlaying = !this.isPlaying;
    this.setSpeed(this.speed);
    clearTimeout(this.timer);
    if (this.isPlaying) this.playOn();
  }

  playOn() {
    this.timer = setTimeout(() => {
      this.isPlaying &&= this.nextStep();
      if (this.isPlaying) this.playOn();
    }, 1000 / SPEEDS[this.speed]);
  }

  pause() {
    clearTimeout(this.timer);
    this.isPlaying = false;
  }

  setSpeed(speed) {
    this.speed = Math.min(Math.max(speed, 0), SPEEDS.length - 1);
    const word = this.isPlaying ? 'runs' : 'paused';
    this.say(`${word}, ${plural(SPEEDS[this.speed], 'step')} a second (space, +, -)`);
  }

  /** Goes on to the next step that meets a breakpoint, or back to the last. */
  search(isForward) {
    if (this.points.length === 0) return this.say(`there is no breakpoint; b sets one: ${FORMS}`);
    this.running = new Search(this.recording, this.points, this.scene.step, isForward);
    return this.searchOn(this.running);
  }

  /** Says which breakpoint has held the program. */
  sayMet() {
    const { last } = this.recording;
    const search = new Search(this.recording, this.points, last - 1, true);
    search.advance();
    this.say(search.found ? `stopped at step ${last}: ${search.found.point.text}` : '');
  }

  searchOn(search) {
    // Another one has been begun, or this one was broken off.
    if (search !== this.running) return;
    search.advance();
    if (!search.isOver) {
      this.say(`searching, step ${search.at}; any key breaks it off`);
      setTimeout(() => this.searchOn(search));
      return;
    }
    this.running = undefined;
    if (search.found) {
      this.go(search.found.step);
      this.say(`stopped at step ${search.found.step}: ${search.found.point.text}`);
    } else if (search.isForward && this.isLive) {
      this.goLast();
      this.order(['until', ...this.points.map(({ text }) => text)].join('\n'));
    } else this.say(`nothing ${search.isForward ? 'after' : 'before'} this meets a breakpoint`);
  }

  // Orders.

  /** Whoever serves the page has a program that takes them. */
  takeOrders(live) {
    this.live = live;
    document.body.classList.add('live');
  }

  /** How the program is, has been told. */
  heard() {
    if (!this.live) return;
    const { doing, ended, isLive, waits } = this.live.status;
    const what = waits === null ? doing : `nothing is ready: it waits for ${waits}`;
    if (this.live.isWaiting) this.say(`${what}; any key ends the wait`);
    else if (this.wasLive && !isLive) this.say(ended);
    this.wasLive = isLive;
    this.drawPosition();
  }

  /** What has come of an order. */
  obeyed(order, said) {
    const [word] = order.split(/\s/);
    // How it has ended has been said.
    if (!this.isLive && said.startsWith('done') && word !== 'again') return;
    if (word === 'step' && said.startsWith('refused: it is not held')) {
      this.isPlaying = false;
      this.say('it runs: G holds it');
    } else if (word === 'until' && said.startsWith('done')) this.sayMet();
    else this.say(word === 'step' && /^(done|queued): /.test(said) ? '' : said.replace(/^done: /, ''));
  }

  /** The viewer does not answer. */
  lose({ message }) {
    this.live.status.isLive = false;
    this.say(`the viewer has gone away (${message})`);
    this.drawPosition();
  }

  get isHeld() {
    return this.isLive && this.live.status.held !== null;
  }

  get isLive() {
    return this.live?.status.isLive ?? false;
  }

  /** Where a program has come to that goes on: there it takes orders. */
  get isAtEdge() {
    const { isWhole, step } = this.scene;
    return this.isLive && (this.follows || (isWhole && step === this.recording.last));
  }

  /** Whether an order can be given here; if not, it is said. */
  mayOrder() {
    if (!this.live) this.say('refused: this is a recording');
    else if (this.isLive && !this.isAtEdge) this.say('refused: this is the past');
    else return true;
    return false;
  }

  order(text) {
    if (!this.mayOrder()) return;
    this.follows = true;
    this.live.order(text);
  }

  /** From the past, too: it is another run that takes it. */
  again() {
    if (!this.live) return this.say('refused: this is a recording');
    this.say('builds and starts it anew …');
    return this.live.order(`again ${this.scene.step}`);
  }

  orderTask(word) {
    if (!this.mayOrder()) return;
    const task = this.look.selected;
    if (task === undefined) this.say('choose a task first, with the keys up and down');
    else if (word === 'cancel') this.ask('cancel');
    else this.order(`${word} ${task}`);
  }

  // Asking.

  askWhy() {
    const task = this.look.selected ?? this.scene.task;
    this.verdict = task === undefined ? 'Choose a task first, with the keys up and down.'
      : why(this.history, this.scene, task);
    this.show('sentence');
  }

  predict() {
    const question = questionAfter(this.recording, this.history, this.scene);
    if (!question) return this.say('after the last step there is nothing to predict');
    this.go(question.from.step, question.from.phases);
    this.question = question;
    this.show('sentence');
    return this.say('a number answers, Esc leaves it');
  }

  answer(at) {
    const { question } = this;
    if (at < 0 || at >= question.answers.length) {
      return this.say(`1 to ${question.answers.length} answers, Esc leaves it`);
    }
    const verdict = this.score.answer(question, at);
    this.go(question.step);
    this.verdict = verdict;
    this.show('sentence');
    return byId('body-sentence').focus();
  }

  nextStop(by) {
    if (!this.lesson) return this.say("this program's source has no lesson in it");
    const stop = this.lesson.stops[this.stop + by];
    if (!stop || this.stop + by < 0) return this.say('the lesson has no further stop');
    this.stop += by;
    this.isAnswerShown = false;
    document.body.classList.remove('zoomed');
    this.openOnly(stop.panes);
    this.arrange();
    const step = stepOf(stop, this.recording, this.history);
    this.stopStep = step ?? this.scene.step;
    this.say('');
    if (step === undefined) this.say('this run has no step like the one that the lesson means');
    return this.go(step ?? this.scene.step);
  }

  showAnswer() {
    this.isAnswerShown = true;
    this.redraw();
  }

  // Texts that are typed.

  ask(what) {
    this.asked = what;
    this.before = document.activeElement;
    byId('prompt-label').textContent = PROMPTS[what]();
    byId('prompt-text').value = what === 'filter' ? this.look.filter : '';
    byId('prompt').hidden = false;
    byId('prompt-text').focus();
  }

  enter() {
    const text = byId('prompt-text').value.trim();
    const what = this.asked;
    this.leave();
    if (what === 'filter') this.look.filter = text;
    if (what === 'step') this.enterStep(text);
    if (what === 'cancel') this.order(`cancel ${this.look.selected} ${text}`);
    if (what === 'breakpoint') this.enterBreakpoint(text);
    this.redraw();
  }

  enterStep(text) {
    if (!/^\d{1,15}$/.test(text)) return this.say(`"${text}" is no number of a step`);
    this.go(Number(text));
    const isThere = this.scene.step === Number(text);
    return this.say(isThere ? '' : `step ${text} is not in the recording; this is the nearest`);
  }

  enterBreakpoint(text) {
    if (text === '-') {
      this.points = [];
      return this.say('all breakpoints are removed');
    }
    if (text === '') return this.say(`breakpoints: ${this.points.map((point) => point.text).join('; ')}`);
    try {
      const point = parseBreakpoint(text);
      this.points.push(point);
      const nearest = nearestPlace(this.history, this.recording.sources, point);
      return this.say(nearest ? `nobody asks from that line; the nearest one is ${nearest}`
        : `breakpoint: ${point.text} (c goes on to it, C back)`);
    } catch (error) {
      return this.say(error.message);
    }
  }

  leave() {
    if (!byId('prompt').hidden) {
      byId('prompt-text').blur();
      byId('prompt').hidden = true;
      (this.before?.isConnected ? this.before : byId('body-sentence')).focus();
    }
    this.question = undefined;
    this.verdict = undefined;
    this.redraw();
  }

  // Looks.

  toggle(pane) {
    if (this.open.has(pane)) {
      this.open.delete(pane);
      if (this.current === pane) this.current = [...this.open].at(-1) ?? 'sentence';
      this.arrange();
    } else this.show(pane);
    this.redraw();
  }

  show(pane) {
    this.open.add(pane);
    this.current = pane;
    this.arrange();
    this.redraw();
    byId(`pane-${pane}`).scrollIntoView({ block: 'nearest' });
  }

  zoom() {
    document.body.classList.toggle('zoomed');
    this.redraw();
  }

  hide() {
    this.look.hides = !this.look.hides;
    this.say(this.look.hides ? "tasks that are not the program's are hidden" : 'all tasks are shown');
    this.redraw();
  }

  changeTheme() {
    const { dataset } = document.documentElement;
    dataset.theme = dataset.theme === 'dark' ? 'light' : 'dark';
    this.say(`${dataset.theme} theme`);
  }

  help() {
    const help = byId('help');
    const rows = KEYS.flatMap(([key, , what]) => [el('dt', {}, key === ' ' ? 'Space' : key), el('dd', {}, what)]);
    const panes = PANES.flatMap((pane) => [el('dt', {}, digitOf(pane)), el('dd', {}, `${titleOf(pane)}: opens and closes it`)]);
    help.replaceChildren(el('h2', {}, 'keys'), el('dl', {}, ...rows, ...panes),
      el('button', { type: 'button', click: () => help.close() }, 'close (Esc)'));
    help.showModal();
  }

  // Keys.

  press(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.scene) return;
    const { key, target } = event;
    if (byId('help').open) return;
    if (target.closest('input')) {
      if (key === 'Escape') this.leave();
      return;
    }
    const isOnButton = target.closest('button, a') !== null;
    if ((key === ' ' || key === 'Enter') && isOnButton) return;
    if (key === 'Enter') return void this.showAnswer();
    const isDigit = /^[0-9]$/.test(key);
    const found = KEYS.find(([name]) => name === key);
    if (!isDigit && !found) return;
    event.preventDefault();
    if (this.question && isDigit) this.answer(Number(key) - 1);
    else if (isDigit) this.toggle(paneOf(key));
    else this.act(key, found[3]);
  }

  act(key, act) {
    if (this.live?.isWaiting) {
      this.pause();
      this.live.endWait();
      return;
    }
    if (this.running) {
      this.running = undefined;
      this.say('the search is broken off');
      return;
    }
    if (![' ', '+', '-', 'd', 'z'].includes(key)) this.pause();
    this.say('');
    act(this);
  }
}

/** The bodies of `run` and `turn` in the loop's own text, and the lines of the phases in what is shown. */
function readLoop(text) {
  const lines = [];
  let isIn = false;
  text.split('\n').forEach((line, at) => {
    isIn ||= line.startsWith('    pub fn run(&mut self)') || line.startsWith('    fn turn(&mut self');
    if (isIn) lines.push({ number: at + 1, text: line.replace(/^ {4}/, '') });
    if (line === '    }') isIn = false;
  });
  const marks = new Map();
  lines.forEach(({ text }, at) => {
    const [, phase] = /^\s*\/\/ phase: (\w+)$/.exec(text) ?? [];
    // The marker itself is a comment; what it marks is the line after it.
    if (phase) marks.set(phase, at + 1);
  });
  return { lines, marks };
}
