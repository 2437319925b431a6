// The page of one file, opened from disk in Chromium. `tests/page.rs` makes the pages, and says by the environment
// variable PAGES in which directory they are.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, afterEach, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const directory = process.env.PAGES;
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
let browser;
let page;
let said;
let requests;

before(async () => {
  const executablePath = '/usr/bin/chromium';
  assert.ok(existsSync(executablePath), 'Chromium is missing: apt-get install --yes chromium');
  browser = await chromium.launch({ executablePath, args: FLAGS });
});

after(() => browser?.close());

beforeEach(async () => {
  page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  [said, requests] = [[], []];
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(`${error}`));
  page.on('request', (request) => requests.push(request.url()));
});

// Whatever a test does: no error, nothing that the policy refuses, and nobody is asked for anything.
afterEach(async () => {
  assert.deepEqual(said, []);
  assert.ok(requests.length > 0 && requests.every((url) => url.startsWith('file:')), requests.join(' '));
  await page.close();
});

async function open(name, rest = '') {
  await page.goto(pathToFileURL(join(directory, `${name}.html`)).href + rest);
  await loaded();
}

function loaded() {
  return page.waitForFunction(() => window.desk?.isLoading === false, null, { timeout: 30_000 });
}

async function press(...keys) {
  for (const key of keys) await page.keyboard.press(key);
}

const text = (id) => page.locator(`#${id}`).innerText();
const sentence = () => text('body-sentence');
const url = () => page.evaluate(() => location.href);
/** The panes that are to be seen, by their names. */
const openPanes = async () =>
  (await page.locator('section:visible').evaluateAll((all) => all.map(({ id }) => id.replace('pane-', '')))).sort();

const step = () => page.evaluate(() => window.desk.scene.step);

describe('moving', () => {
  test('buttons clicked then the steps go on and back', async () => {
    await open('short');
    assert.match(await sentence(), /^Nothing has run yet\./);
    await page.getByRole('button', { name: 'step ▶' }).click();
    await page.getByRole('button', { name: 'step ▶' }).click();
    assert.match(await sentence(), /T2 \(waiter\).*\n*T2 asks for .*; T1 has held it since step 1; T2 joins its queue\./s);
    assert.match(await text('position'), /^step 2 of 6 · clock 0\.001500 s/);
    assert.match(await text('body-ready'), /mutex `stove` held by T1 since kitchen\.rs:20: T2/);
    await page.getByRole('button', { name: '◀ step' }).click();
    assert.match(await sentence(), /^T1 \(cook\) is taken/);
    await page.getByRole('button', { name: 'last' }).click();
    assert.match(await sentence(), /the run is over/);
    await press('n');
    assert.equal(await text('message'), 'this is the last step');
    await press('Home', 'p');
    assert.equal(await text('message'), 'this is the beginning');
  });

  test('every step forward and back then the state is that of the step', async () => {
    await open('run');
    const { first, last } = await page.evaluate(() => window.desk.recording.segments[0]);
    for (let at = first; at <= Math.min(last, 40); at++) await press('n');
    const there = await page.evaluate(() => window.desk.scene.now.text());
    for (let back = 0; back < 15; back++) await press('p');
    for (let on = 0; on < 15; on++) await press('n');
    assert.equal(await page.evaluate(() => window.desk.scene.now.text()), there);
  });

  test('phases then the loop marks each, and the last one ends the step', async () => {
    await open('short');
    await press('4', 'n');
    const phases = [];
    do {
      await press('N');
      phases.push(await text('position'));
    } while (await page.evaluate(() => !window.desk.scene.isWhole));
    const words = phases.map((position) => /in (\w+)/.exec(position)?.[1]);
    assert.deepEqual(words, ['pick', 'resume', 'trap', 'serve', undefined]);
    assert.equal(await step(), 2);
    await press('P');
    assert.match(await page.locator('#body-loop [aria-current]').innerText(), /serve/);
  });

  test('selected task then t and T go to its steps, and w says why it waits', async () => {
    await open('short');
    await press('n', 'ArrowDown', 'ArrowDown', 't');
    assert.equal(await step(), 2);
    await press('w');
    assert.match(await sentence(),
      /T2 \(waiter\) waits for mutex `stove` \(kitchen\.rs:30\), held by T1 since step 1 \(kitchen\.rs:20\), which sleeps until 0\.003 s \(kitchen\.rs:21\)\./);
    await press('t');
    assert.equal(await step(), 5);
    await press('T');
    assert.equal(await step(), 2);
  });

  test('task not born yet, under way, at its end, and gone, then w says which', async () => {
    await open('things');
    const why = async (at) => {
      await page.evaluate((at) => { window.desk.go(at); window.desk.select(5); }, at);
      await press('w');
      return (await page.locator('#body-sentence .aside').innerText());
    };
    const { born, last } = await page.evaluate(() => ({
      born: window.desk.history.nextOf(5, 0), last: window.desk.history.previousOf(5, 1000) }));
    assert.equal(await why(born - 3), `T5 (reader) is not born yet; it runs for the first time in step ${born}.`);
    assert.match(await why(born), /^T5 \(reader\) waits for something to read from fd \d+ \(things\.rs:\d+\)\.$/);
    assert.equal(await why(last), 'T5 (reader) has just ended.');
    assert.equal(await why(last + 1), `T5 (reader) has ended; it ran for the last time in step ${last}.`);
  });

  test('space then it plays, and any move stops it', async () => {
    await open('run');
    await press('+', '+', '+', ' ');
    await page.waitForFunction(() => window.desk.scene.step > 3);
    await press('p');
    const at = await step();
    assert.equal(await page.evaluate(() => window.desk.isPlaying), false);
    await press('n');
    assert.equal(await step(), at + 1);
  });

  test('reloaded then it is at the same step, and a link leads to a step and a task', async () => {
    await open('run');
    await press('g');
    await page.keyboard.type('33');
    await press('Enter', 'ArrowDown', 'N');
    const [place, before] = [await url(), await sentence()];
    assert.match(place, /#step=34&phase=1&task=\d+$/);
    await page.reload();
    await loaded();
    assert.equal(await sentence(), before);
    assert.equal(await url(), place);
    await page.evaluate(() => { location.hash = '#step=7&task=1'; });
    await page.waitForFunction(() => window.desk.scene.step === 7 && window.desk.look.selected === 1);
  });

  test('a step that is not there then the nearest, and it is said', async () => {
    await open('short', '#step=999');
    assert.equal(await step(), 6);
    await press('g');
    await page.keyboard.type('400');
    await press('Enter');
    assert.equal(await text('message'), 'step 400 is not in the recording; this is the nearest');
  });
});

describe('breakpoints', () => {
  async function breakpoint(what) {
    await press('b');
    await page.keyboard.type(what);
    await press('Enter');
  }

  test('set then it is gone on to, and back', async () => {
    await open('short');
    await press('c');
    assert.match(await text('message'), /^there is no breakpoint; b sets one: task ID/);
    await breakpoint('call park');
    await breakpoint('outcome returned');
    await press('c');
    assert.equal(await text('message'), 'stopped at step 2: call park');
    await press('c');
    assert.equal(await text('message'), 'stopped at step 4: outcome returned');
    await press('c', 'c');
    assert.equal(await text('message'), 'nothing after this meets a breakpoint');
    assert.equal(await step(), 5);
    await press('C', 'C');
    assert.equal(await text('message'), 'stopped at step 2: call park');
    await press('C');
    assert.equal(await text('message'), 'nothing before this meets a breakpoint');
  });

  test('every kind then it stops where its kind is met', async () => {
    await open('short');
    const stops = { 'task 2': 3, 'object stove': 1, 'line kitchen.rs:30': 2, 'woken > 0': 3, 'outcome finished': 6 };
    for (const [what, at] of Object.entries(stops)) {
      await press('b', '-', 'Enter', 'Home');
      await breakpoint(what);
      await press('c');
      assert.match(await text('message'), /^stopped at step /, what);
      if (what !== 'task 2') assert.equal(await step(), at, what);
    }
    await breakpoint('line kitchen.rs:29');
    assert.equal(await text('message'), 'nobody asks from that line; the nearest one is kitchen.rs:30');
    await breakpoint('nonsense');
    assert.match(await text('message'), /^"nonsense" is none of: task ID/);
  });
});

describe('predicting', () => {
  test('answered to the end then first answers are counted', async () => {
    await open('short');
    let [asked, right] = [0, 0];
    for (;;) {
      await press('x');
      const question = await page.evaluate(() => window.desk.question);
      if (!question) break;
      asked++;
      const answer = asked % 2 === 0 ? (question.right + 1) % question.answers.length : question.right;
      right += answer === question.right ? 1 : 0;
      await press(`${answer + 1}`);
      const verdict = answer === question.right ? 'Right' : 'No';
      const expected = `${verdict}: ${question.answers[question.right]}. ${right} of ${asked} right so far.`;
      assert.ok((await sentence()).includes(expected), await sentence());
      assert.equal(await step(), question.step);
    }
    assert.equal(asked, 6);
    assert.equal(await text('message'), 'after the last step there is nothing to predict');
    // Once more: it is no first answer.
    await press('Home', 'x');
    const question = await page.evaluate(() => window.desk.question);
    await page.locator('.answers button').nth(question.right).click();
    assert.ok((await sentence()).includes(`${right} of ${asked} right so far.`));
  });

  test('left then nothing is counted', async () => {
    await open('short');
    await press('x', 'Escape');
    assert.equal(await page.locator('.answers').count(), 0);
    assert.equal(await page.evaluate(() => window.desk.score.answered.size), 0);
  });
});

describe('lessons', () => {
  test('stops then their panes, their texts and, when asked for, the answer', async () => {
    await open('lesson');
    assert.match(await text('message'), /^lesson: Two cooks/);
    await press('l');
    assert.equal(await step(), 2);
    assert.equal(await text('title-lesson'), '1 of 2: Two cooks');
    assert.match(await text('body-lesson'), /^The waiter stands in a queue, of a lock\.\s+Whose\?/);
    assert.equal(await page.locator('#body-lesson em').innerText(), 'queue');
    assert.equal(await page.locator('#body-lesson code').innerText(), 'lock');
    assert.ok(!(await text('body-lesson')).includes("The stove's."));
    await press('Enter');
    assert.match(await text('body-lesson'), /The stove's\./);
    for (const [pane, isOpen] of [['tasks', true], ['waiting', true], ['ready', false], ['source', false]]) {
      assert.equal(await page.locator(`#pane-${pane}`).isVisible(), isOpen, pane);
    }
    // Whoever looks about has it still before them.
    await press('p');
    assert.match(await text('body-lesson'), /^\(of step 2\)\s+The waiter/);
    await press('l');
    assert.equal(await step(), 6);
    assert.equal(await page.locator('#pane-source').isVisible(), true);
    const [lesson, source] = await Promise.all(['#pane-lesson', '#pane-source'].map((id) => page.locator(id).boundingBox()));
    assert.ok(lesson.x >= source.x + source.width && Math.abs(lesson.y - source.y) < 2, 'beside the source');
    await press('l');
    assert.equal(await text('message'), 'the lesson has no further stop');
    await press('L');
    assert.equal(await step(), 2);
  });

  test('lesson by the keyboard then Tab comes to its text and to its answer, and stays there', async () => {
    await open('lesson');
    await press('l');
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
    for (let at = 0; at < 60 && (await focused()) !== 'body-lesson'; at++) await press('Tab');
    await press('Tab');
    assert.equal(await focused(), 'answer (Enter, =)');
    await press('Enter');
    assert.match(await text('body-lesson'), /The stove's\./);
    assert.equal(await focused(), 'body-lesson');
    assert.ok(await page.getByRole('region', { name: '1 of 2: Two cooks' }).isVisible());
    assert.equal(await page.locator('#body-lesson').getAttribute('aria-live'), 'polite');
  });
});

describe('what it is given', () => {
  test('names that would be HTML then they are text, in every pane', async () => {
    const name = '</script><img src=x onerror=window.isBroken=1>';
    await open('hostile');
    await press('4', '5', '6', '7', '8', '9');
    for (let at = 0; at < 6; at++) {
      await press('n', 'w', 'x', 'Escape', 'ArrowDown');
      assert.equal(await page.evaluate(() => document.querySelectorAll('img').length), 0);
    }
    assert.equal(await page.evaluate(() => window.isBroken), undefined);
    await press('Home', 'n', 'n');
    for (const pane of ['tasks', 'ready', 'log', 'sentence', 'source', 'timeline']) {
      const shown = await page.locator(`#body-${pane}`).textContent();
      assert.ok(shown.includes(pane === 'timeline' ? '</script>' : name), `${pane}: ${shown}`);
    }
    assert.ok((await text('title')).includes('<b>'));
    // What would turn the line about is written out.
    assert.ok((await page.locator('#body-tasks').textContent()).includes('\\u{202e}'));
  });

  test('sample of the steps then the canonical text of Rust', async () => {
    for (const name of ['run', 'short', 'hostile', 'cut']) {
      await open(name);
      const texts = JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8'));
      for (const [at, expected] of Object.entries(texts)) {
        const found = await page.evaluate((at) => window.desk.recording.stateAt(at)?.text(), Number(at));
        assert.equal(found, expected, `${name}, step ${at}`);
      }
    }
  });

  test('damaged then it says so, and shows what was before', async () => {
    await open('damaged');
    assert.match(await text('message'), /^the trace is read up to step \d+ only: the checksum of a chunk is wrong/);
    await press('End');
    assert.ok((await step()) > 0);
  });

  test('output of the program then as much as there was after the step', async () => {
    await open('short');
    await press('7', 'n');
    assert.equal(await text('body-output'), 'one\n');
    await press('End');
    assert.equal(await text('body-output'), 'one\ntwo <b>\n');
  });
});

describe('how it looks', () => {
  test('panes named then these alone, for embedding', async () => {
    await open('short', '?panes=waiting,log#step=2');
    assert.deepEqual(await openPanes(), ['log', 'waiting']);
    assert.equal(await page.locator('#moves').isVisible(), false);
    assert.equal(await text('body-waiting'), 'mutex `stove` held by T1 since kitchen.rs:20: T2\nclock: T1 until 0.003 s');
    assert.match(await text('body-log'), /2 T2 park\(\) … waits for mutex `stove`/);
    await press('n');
    assert.equal(await step(), 3);
    await open('short', '?panes=ready,waiting#step=2');
    assert.deepEqual(await openPanes(), ['ready', 'waiting']);
    assert.equal(await text('body-ready'), 'running\nnobody\nready: 0\nnobody');
    // Alone, the queue has the tables beneath it.
    await open('short', '?panes=ready#step=2');
    assert.match(await text('body-ready'), /mutex `stove` held by T1 since kitchen\.rs:20: T2/);
  });

  test('things that nobody waits for then how they stand, from when they were first used', async () => {
    await open('things', '?panes=waiting');
    const rows = async (at) => {
      await page.evaluate((at) => window.desk.go(at), at);
      return (await text('body-waiting')).split('\n').filter((row) => !/^(clock|ends of tasks|fd \d+): /.test(row));
    };
    assert.deepEqual(await rows(0), ['There is nothing to wait for yet.']);
    const at = (line) => `things.rs:${line}`;
    const full = await page.evaluate(() => window.desk.history.firstCalls.get('park'));
    const [desk, book, seats] = ['mutex `desk`', 'rwlock `book`', 'semaphore `seats`'];
    const lines = (await page.evaluate(() => [...window.desk.recording.sources.values()][0].text)).split('\n');
    const line = (of) => at(lines.findIndex((text) => text.includes(of)) + 1);
    const channel = `channel of ${line('= channel(2)')}`;
    const since = [line('_desk = things.desk'), line('_page = things.book'), line('_seat = things.seats')];
    assert.deepEqual(await rows(full), [
      `${desk} held by T2 since ${since[0]}: nobody waits`, `${book} held by T2 since ${since[1]}: nobody waits`,
      `${seats} with 2 free, held by T2 since ${since[2]}: nobody waits`, `${channel} holds 2 of 2: T2 for room`,
    ]);
    const last = await page.evaluate(() => window.desk.recording.last);
    assert.deepEqual(await rows(last - 2), [
      `${desk} free: nobody waits`, `${book} free: nobody waits`, `${seats} with 3 free: nobody waits`, 'event `bell` set: nobody waits',
    ]);
  });

  test('projected, and at 200 % zoom, then nothing is beyond the side', async () => {
    for (const [width, height] of [[1280, 800], [640, 400]]) {
      await page.setViewportSize({ width, height });
      await open('run', '#step=30');
      await press('4', '5', '6', '8', '9', '0');
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(beyond <= 0, `${width}: ${beyond}`);
      // The sentence, and a line of the source, are there without scrolling.
      if (width === 1280) {
        const box = await page.locator('#body-sentence p').first().boundingBox();
        assert.ok(box.y > 0 && box.y + box.height < 800, JSON.stringify(box));
      }
      // Each pane can be brought into sight, and is wide enough to be read.
      for (const section of await page.locator('section:visible').all()) {
        await section.scrollIntoViewIfNeeded();
        const box = await section.boundingBox();
        assert.ok(box.width >= Math.min(width - 20, 500) && box.height >= 60, `${width}: ${JSON.stringify(box)}`);
      }
    }
  });

  test('tab then it comes by every move and every pane, and buttons obey Enter and space', async () => {
    await open('short', '#step=2');
    await press('4', '5', '6', '7', '8', '9', '0');
    const seen = new Set();
    for (let at = 0; at < 90; at++) {
      await press('Tab');
      seen.add(await page.evaluate(() => document.activeElement.id));
    }
    for (const pane of ['source', 'ready', 'sentence', 'loop', 'tasks', 'log', 'output', 'timeline', 'graph', 'waiting']) {
      assert.ok(seen.has(`body-${pane}`) && seen.has(`toggle-${pane}`), pane);
    }
    assert.ok(seen.has('key-n') && seen.has('key-Space') && seen.has('key-?'));
    await page.locator('#key-n').focus();
    await press('Enter');
    assert.equal(await step(), 3);
    await press(' ');
    assert.equal(await step(), 4);
  });

  test('screen reader then names, states and the sentence are told', async () => {
    await open('short', '#step=2');
    await press('5', '8');
    assert.equal(await page.locator('#body-sentence').getAttribute('aria-live'), 'polite');
    assert.equal(await page.locator('#message').getAttribute('role'), 'status');
    assert.ok(await page.getByRole('region', { name: 'the sentence' }).isVisible());
    assert.ok(await page.getByRole('button', { name: '2 ready', pressed: true }).isVisible());
    assert.ok(await page.getByRole('rowheader', { name: 'T2 (waiter)' }).isVisible());
    assert.match(await page.getByRole('img').getAttribute('aria-label'), /Who ran: 1 T1, 2 T2, 3 outside/);
    // A state is a letter and a word.
    assert.match(await text('body-tasks'), /b blocked/);
    await press('?');
    assert.ok(await page.getByRole('dialog', { name: 'keys' }).isVisible());
    await press('Escape');
    assert.equal(await page.getByRole('dialog').count(), 0);
  });

  test('dark then its letters are as readable as in the light', async () => {
    await open('short', '#step=2');
    await press('5');
    for (const theme of ['light', 'dark']) {
      for (const selector of ['#body-sentence', '.dim', '.blocked', '.waits .who', 'h2', '#position', '#key-n']) {
        const ratio = await page.locator(selector).first().evaluate(contrast);
        assert.ok(ratio >= 4.5, `${theme} ${selector}: ${ratio}`);
      }
      await press('d');
    }
  });

  test('zoomed then one pane fills the window', async () => {
    await open('short', '#step=2');
    await page.locator('#body-source').focus();
    await press('z');
    assert.equal(await page.locator('#pane-ready').isVisible(), false);
    assert.ok((await page.locator('#pane-source').boundingBox()).width > 1200);
    await press('z');
    assert.equal(await page.locator('#pane-ready').isVisible(), true);
  });

  test('step under way then the line it goes on from has a question mark, until it has asked', async () => {
    await open('things');
    const marks = () => page.locator('#body-source .mark').evaluateAll((all) => all.map((mark) => mark.textContent).join(''));
    await press('n', 'n', 'N');
    assert.equal(await marks(), '▶?');
    await press('n');
    assert.equal(await marks(), '▶■');
  });

  test('cycle that closes then the graph opens by itself', async () => {
    await open('cycle', '#step=1');
    assert.equal(await page.locator('#pane-graph').isVisible(), false);
    await press('n', 'n', 'n');
    assert.equal(await page.locator('#pane-graph').isVisible(), true);
    assert.match(await text('body-graph'), /^cycle: T1 ─ mutex `right` → T2 ─ mutex `left` → T1/);
    assert.match(await sentence(), /A cycle has closed: T1 waits for T2, T2 waits for T1\./);
    await press('ArrowDown', 'w');
    assert.match(await sentence(), /is where we began: a cycle, which closed in step \d+\./);
  });
});

/** How far the letters of an element stand out from what is behind them. */
function contrast(element) {
  const light = (colour) => {
    const parts = colour.match(/[\d.]+/g).slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  let behind = element;
  while (/rgba\(0, 0, 0, 0\)|transparent/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
  const [a, b] = [light(getComputedStyle(element).color), light(getComputedStyle(behind).backgroundColor)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}
