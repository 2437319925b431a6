// The page on a program that runs. `tests/web_live.rs` says by environment variables where the viewer is
// (TRAPLINE_BIN), which program to run (RELAY), and where files may be written (SCRATCH).

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, afterEach, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
const { TRAPLINE_BIN, RELAY } = process.env;
let browser;
let servers = [];

before(async () => {
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
});

after(() => browser?.close());

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  for (const server of servers) {
    if (server.exitCode === null) await new Promise((resolve) => server.once('exit', resolve).kill('SIGINT'));
  }
  servers = [];
});

/** Starts the viewer, and gives the link that it prints. */
async function serve(...more) {
  const server = spawn(TRAPLINE_BIN, ['web', ...more], { stdio: ['ignore', 'pipe', 'inherit'] });
  servers.push(server);
  const said = await new Promise((resolve) => server.stdout.once('data', (data) => resolve(`${data}`)));
  return said.trim();
}

class Viewer {
  static async open(link) {
    const viewer = new Viewer();
    viewer.errors = [];
    viewer.page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    viewer.page.on('pageerror', (error) => viewer.errors.push(`${error}`));
    // What is refused is told of there, too.
    viewer.page.on('console', (message) => !/409|404/.test(message.text()) && viewer.errors.push(message.text()));
    await viewer.page.goto(link);
    await viewer.loaded();
    return viewer;
  }

  loaded() {
    return this.page.waitForFunction(() => window.desk?.isLoading === false);
  }

  async press(...keys) {
    for (const key of keys) await this.page.keyboard.press(key);
  }

  text(id) {
    return this.page.locator(`#${id}`).innerText();
  }

  /** Waits until an element's text is so. */
  async sees(id, pattern) {
    const says = ({ id, source }) => new RegExp(source, 's').test(document.getElementById(id).innerText);
    try {
      await this.page.waitForFunction(says, { id, source: pattern.source }, { timeout: 10_000 });
    } catch {
      assert.match(await this.text(id), pattern);
    }
  }

  step() {
    return this.page.evaluate(() => window.desk.scene.step);
  }
}

test('held before its first step then it is stepped, ordered and let go', async () => {
  const viewer = await Viewer.open(await serve(RELAY, '--virtual'));
  await viewer.sees('position', /^LIVE step 0 · .*held for \d+ s/);
  await viewer.sees('body-sentence', /One task stands in the ready queue; T1 is at its head/);
  assert.match(await viewer.page.locator('#body-source [aria-current]').innerText(), /\?.*trapline::main|\?/s);
  await viewer.press('n');
  await viewer.sees('position', /^LIVE step 1 ·/);
  await viewer.page.getByRole('button', { name: 'step ▶' }).click();
  await viewer.sees('position', /^LIVE step 2 ·/);
  // Faster than one is answered.
  await viewer.press('n', 'n', 'n');
  await viewer.sees('position', /^LIVE step 5 ·/);
  await viewer.sees('body-sentence', /T2 waits for the clock/);

  // T3 and T4 are ready.
  assert.match(await viewer.text('body-ready'), /T3.*T4/s);
  await viewer.press('ArrowDown', 'ArrowDown', 'F');
  await viewer.sees('message', /refused: T2 is not ready/);
  await viewer.press('ArrowDown', 'ArrowDown', 'F');
  await viewer.sees('body-sentence', /An order from outside puts T4 \(runner 3\) at the head of the ready queue\./);
  await viewer.sees('body-ready', /T4.*T3/s);
  await viewer.press('K');
  await viewer.sees('body-sentence', /T4 \(runner 3\) is killed: it is dropped where it stood\./);
  await viewer.press('ArrowUp', 'X');
  await viewer.page.keyboard.type('enough');
  await viewer.press('Enter');
  await viewer.sees('message', /^cancel, enough T3$/);

  await viewer.press('p');
  await viewer.sees('position', /^step 4 of 5 ·/);
  for (const key of ['K', 'F', 'G']) {
    await viewer.press(key);
    await viewer.sees('message', /^refused: this is the past$/);
  }
  await viewer.press('n', 'n');
  await viewer.sees('position', /^LIVE step 6 ·/);

  // On to a breakpoint beyond what is there.
  await viewer.press('b');
  await viewer.page.keyboard.type('task 1');
  await viewer.press('Enter', 'c');
  await viewer.sees('message', /^stopped at step \d+: task 1$/);
  const stopped = await viewer.step();
  assert.ok(stopped > 6);
  await viewer.sees('position', new RegExp(`^LIVE step ${stopped} · .*held`));

  await viewer.press('7', 'G');
  await viewer.sees('message', /^the program has ended \(exit status: 0\)$/);
  await viewer.sees('position', /^step \d+ of \d+ · /);
  await viewer.press('End');
  await viewer.sees('body-output', /runner 1 is back, with lap 1/);
  await viewer.press('g');
  await viewer.page.keyboard.type('2');
  await viewer.press('Enter');
  assert.doesNotMatch(await viewer.text('body-output'), /runner/);
  await viewer.press('K');
  await viewer.sees('message', /^refused: the program has ended$/);
  assert.deepEqual(viewer.errors, []);
});

test('nobody is ready then a step waits for the outside, and a key ends the wait', async () => {
  const viewer = await Viewer.open(await serve(RELAY, '--', '60000'));
  for (let step = 1; step <= 7; step++) {
    await viewer.press('n');
    await viewer.sees('position', new RegExp(`^LIVE step ${step} ·`));
  }
  await viewer.press('n');
  await viewer.sees('message', /waits for a timer in \d+\.\d+ s; any key ends the wait/);
  await viewer.press('w');
  await viewer.sees('position', /^LIVE step 8 · .*held for/);
  // The key did nothing else.
  assert.doesNotMatch(await viewer.text('body-sentence'), /Choose a task/);
  // Played, it steps until it has to wait again.
  await viewer.press(' ');
  await viewer.sees('message', /any key ends the wait/);
  await viewer.press('w');
  await viewer.sees('position', /held for/);
  const step = await viewer.step();
  await viewer.page.waitForTimeout(300);
  assert.equal(await viewer.step(), step);
  assert.deepEqual(viewer.errors, []);
});

test('two pages then the newest orders, and a reload comes back to its step as the newest', async () => {
  const link = await serve(RELAY, '--virtual');
  const first = await Viewer.open(link);
  await first.press('n', 'n', 'n');
  await first.sees('position', /^LIVE step 3 ·/);
  await first.press('p', 'ArrowDown');
  const second = await Viewer.open(link);
  await first.sees('position', /another page gives the orders/);
  await second.press('End', 'n');
  await second.sees('position', /^LIVE step 4 ·/);
  await first.press('End');
  await first.sees('position', /^LIVE step 4 ·/);
  await first.press('n');
  await first.sees('message', /^refused: another page gives the orders$/);
  // It sees what the other one does.
  await second.press('n');
  await first.sees('position', /^LIVE step 5 ·/);

  await first.press('p', 'p');
  assert.equal(await first.step(), 3);
  const place = await first.page.evaluate(() => location.hash);
  await first.page.reload();
  await first.loaded();
  assert.equal(await first.page.evaluate(() => location.hash), place);
  assert.equal(await first.step(), 3);
  await second.sees('position', /another page gives the orders/);
  await first.press('End', 'n');
  await first.sees('position', /^LIVE step 6 · (?!.*another)/);
  await second.sees('position', /of 6|step 6/);
  assert.deepEqual([...first.errors, ...second.errors], []);
});

test('again then it is another run, at the same step', async () => {
  const viewer = await Viewer.open(await serve(RELAY, '--virtual'));
  await viewer.press('n', 'n', 'n', 'n');
  await viewer.sees('position', /^LIVE step 4 ·/);
  await viewer.press('p');
  await viewer.press('R');
  await viewer.page.waitForFunction(() => window.desk.live.status.run === 2 && !window.desk.isLoading);
  await viewer.sees('position', /^LIVE step 3 ·/);
  await viewer.sees('message', /^the same as the last run up to step 3$/);
  await viewer.press('n');
  await viewer.sees('position', /^LIVE step 4 ·/);
  assert.deepEqual(viewer.errors, []);
});
