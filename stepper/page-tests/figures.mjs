// How long a large recording takes to open, and a step of it to be shown: of a program that runs (`crowd`, of the
// stepper's examples), with 1,000,000 steps and 1,000 tasks alive, in the terminal and in the page. Prints a line for each figure, and fails where one is over
// its limit.
//
//   node stepper/page-tests/figures.mjs

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const STEPS = 1_000_000;
const root = fileURLToPath(new URL('../..', import.meta.url));
const trapline = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'release/trapline');
const scratch = mkdtempSync(join(tmpdir(), 'trapline-figures-'));
const trace = process.argv[2] ?? join(scratch, 'crowd.trace');

/** A place in the recording for each number, as if by chance. */
const place = (number) => 1000 + (number * 7_919_333) % (STEPS - 2000);

function figure(name, limit, times) {
  const sorted = times.toSorted((a, b) => a - b);
  const [median, worst] = [sorted[sorted.length >> 1], sorted.at(-1)];
  const isOver = median > limit;
  if (isOver) process.exitCode = 1;
  const shown = (time) => `${time.toFixed(time < 100 ? 1 : 0)} ms`;
  const range = times.length > 1 ? `, at worst ${shown(worst)} of ${times.length}` : '';
  console.log(`${name}: ${shown(median)} (limit ${limit} ms)${range}${isOver ? '  TOO LONG' : ''}`);
}

function record() {
  const build = ['build', '--release', '--quiet', '--package', 'trapline-stepper', '--bin', 'trapline', '--example', 'crowd'];
  execFileSync('cargo', build, { cwd: root, stdio: 'inherit' });
  if (existsSync(trace)) return;
  const program = ['--release', '--package', 'trapline-stepper', '--example', 'crowd'];
  execFileSync(trapline, ['record', ...program, '--output', trace, '--', `${STEPS}`], { cwd: root, stdio: 'ignore' });
}

// The terminal.

/** How long the terminal's picture takes after some keys. */
function terminal(keys) {
  const begin = performance.now();
  execFileSync(trapline, ['view', trace, '--keys', keys, '--dump'], { stdio: ['ignore', 'ignore', 'inherit'] });
  return performance.now() - begin;
}

function measureTerminal() {
  const opened = Array.from({ length: 5 }, () => terminal(''));
  figure('terminal: opens', 1000, opened);
  const least = Math.min(...opened);
  const jumps = Array.from({ length: 100 }, (_, at) => `g${place(at)}<enter>`).join('');
  figure('terminal: a jump', 30, [0, 0, 0].map(() => (terminal(jumps) - least) / 100));
  figure('terminal: a step back', 30, [0, 0, 0].map(() => (terminal(`g${place(5)}<enter>${'p'.repeat(100)}`) - least) / 100));
}

// The page.

async function served() {
  const server = spawn(trapline, ['web', trace], { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: server.stdout })) {
    const [link] = /http:\S+/.exec(line) ?? [];
    if (link !== undefined) return { link, server };
  }
  throw new Error('the viewer has printed no link');
}

/** How long it takes until the page shows each of these steps. */
function times(steps) {
  const shown = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  const one = async (step) => {
    await shown();
    const begin = performance.now();
    window.desk.go(step);
    await shown();
    return performance.now() - begin;
  };
  return steps.reduce(async (before, step) => [...(await before), await one(step)], Promise.resolve([]));
}

async function measurePage() {
  const { link, server } = await served();
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--headless', '--no-sandbox', '--disable-gpu'] });
  try {
    const opened = [];
    for (let round = 0; round < 3; round++) {
      const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
      const begin = performance.now();
      await page.goto(link);
      await page.waitForFunction(() => window.desk?.isLoading === false, null, { timeout: 60_000 });
      opened.push(performance.now() - begin);
      if (round < 2) await page.close();
      else await measureSteps(page, opened);
    }
  } finally {
    await browser.close();
    server.kill();
  }
}

async function measureSteps(page, opened) {
  figure('page: opens', 3000, opened);
  const jumps = Array.from({ length: 40 }, (_, at) => place(at));
  const back = Array.from({ length: 40 }, (_, at) => STEPS / 2 - at);
  for (const [panes, keys] of [['as it opens', []], ['tasks, log and timeline, too', ['5', '6', '8']]]) {
    for (const key of keys) await page.keyboard.press(key);
    figure(`page, ${panes}: a jump`, 60, await page.evaluate(times, jumps));
    figure(`page, ${panes}: a step back`, 60, await page.evaluate(times, back));
  }
}

try {
  record();
  console.log(`${trace}: ${statSync(trace).size} bytes`);
  measureTerminal();
  await measurePage();
} finally {
  rmSync(scratch, { recursive: true });
}
