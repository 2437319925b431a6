// Takes the pictures of docs/teaching.md from the lessons as they are.
//
//     node stepper/page-tests/screenshots.mjs            makes them anew
//     node stepper/page-tests/screenshots.mjs --check    only looks whether the steps that they show are still there
//
// The document says what is on each: a comment before a picture, `screenshot: NAME.png, step N, keys l l` (the step may be
// left out), or before a block of text, `screen: NAME, step N, keys l l`, with the terminal's keys.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { deflateSync, inflateSync } from 'node:zlib';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('../..', import.meta.url));
const isCheck = process.argv.includes('--check');
const pictures = join(root, 'docs/screenshots');
const plan = join(root, 'docs/teaching.md');
// Larger ones take long to load, and nobody looks at them more closely.
const LARGEST = 60_000;
// As many as half a byte tells apart.
const COLOURS = 16;

const scratch = mkdtempSync(join(tmpdir(), 'trapline-screenshots-'));
const pages = process.env.PAGES ?? scratch;
try {
  if (!process.env.PAGES) trapline(['gallery', '-o', pages]);
  const executablePath = '/usr/bin/chromium';
  assert.ok(existsSync(executablePath), 'Chromium is missing: apt-get install --yes chromium');
  const browser = await chromium.launch({ executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu'] });
  try {
    const text = readFileSync(plan, 'utf8');
    await takeScreenshots(browser, text);
    takeScreens(text);
  } finally {
    await browser.close();
  }
} finally {
  rmSync(scratch, { recursive: true });
}

/** Calls the viewer, built if it has to be. */
function trapline(words) {
  const program = process.env.TRAPLINE_BIN;
  const [command, before] = program ? [program, []] : ['cargo', ['trapline']];
  return execFileSync(command, [...before, ...words], { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

async function takeScreenshots(browser, text) {
  const asked = [...text.matchAll(/<!-- screenshot: (\w+)\.png(?:, step (\d+))?, keys ([^>]*?) -->\n!\[([^\]]+)\]\(screenshots\/(\w+)\.png\)/g)];
  assert.equal(asked.length, text.match(/screenshots\/\w+\.png/g).length, 'each picture has a comment before it');
  for (const [, name, step, keys, , file] of asked) {
    assert.equal(name, file);
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await page.goto(pathToFileURL(join(pages, `${name}.html`)).href);
    await page.waitForFunction(() => window.desk?.isLoading === false);
    for (const key of keys.split(' ')) await page.keyboard.press(key);
    if (step !== undefined) assert.equal(await page.evaluate(() => window.desk.scene.step), Number(step), name);
    const stop = await page.locator('#title-lesson').innerText();
    assert.match(stop, new RegExp(`^${keys.split(' ').filter((key) => key === 'l').length} of `), name);
    const picture = join(pictures, `${name}.png`);
    if (!isCheck) writeFileSync(picture, await smallPng(page, await page.screenshot()));
    const { size } = statSync(picture);
    assert.ok(size <= LARGEST, `${name}.png has ${size} bytes`);
    await page.close();
  }
}

/** The terminal's screens stand in the document itself: whatever has changed on one is seen at once. */
function takeScreens(text) {
  const block = /(<!-- screen: (\w+), step (\d+), keys (\S+) -->\n```text\n)([^]*?)(```)/g;
  assert.ok(text.match(block), 'there is a screen of the terminal');
  const anew = text.replace(block, (_, head, name, step, keys, shown, end) => {
    const page = readFileSync(join(pages, `${name}.html`), 'utf8');
    const files = ['trace', 'output'].map((kind) => {
      const file = join(scratch, `${name}.${kind}`);
      const [, data] = new RegExp(`id="${kind}">([^<]*)<`).exec(page);
      writeFileSync(file, inflateSync(Buffer.from(data, 'base64')));
      return file;
    });
    const screen = trapline(['view', files[0], '--output', files[1], '--keys', keys, '--dump', '--size', '100x30']);
    assert.match(screen, new RegExp(`^step ${step} of `), name);
    const lines = screen.trimEnd() + '\n';
    if (isCheck) assert.equal(shown, lines, 'node stepper/page-tests/screenshots.mjs takes it anew');
    return head + lines + end;
  });
  if (!isCheck) writeFileSync(plan, anew);
}

/** The same picture with few colours, which takes a third of the room. */
async function smallPng(page, png) {
  const { width, height, pixels } = await page.evaluate(async (data) => {
    const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))]));
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const { data: pixels } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    let text = '';
    for (let at = 0; at < pixels.length; at += 8192) text += String.fromCharCode(...pixels.subarray(at, at + 8192));
    return { width: bitmap.width, height: bitmap.height, pixels: btoa(text) };
  }, png.toString('base64'));
  return paletted(Buffer.from(pixels, 'base64'), width, height);
}

function paletted(pixels, width, height) {
  const counts = new Map();
  const colourAt = (at) => (pixels[at] << 16) | (pixels[at + 1] << 8) | pixels[at + 2];
  for (let at = 0; at < pixels.length; at += 4) counts.set(colourAt(at), (counts.get(colourAt(at)) ?? 0) + 1);
  // The hue counts more than the brightness: between black and white there is a grey for each edge of a letter.
  const distance = (a, b) => {
    const [red, green, blue] = [16, 8, 0].map((shift) => ((a >> shift) & 255) - ((b >> shift) & 255));
    return red ** 2 + green ** 2 + blue ** 2 + 4 * ((red - green) ** 2 + (green - blue) ** 2);
  };
  // Those that are there most, and are not nearly the same as one before.
  const palette = [];
  for (const [colour] of [...counts].sort((a, b) => b[1] - a[1])) {
    if (palette.length < COLOURS && palette.every((other) => distance(colour, other) > 600)) palette.push(colour);
  }
  const nearest = new Map([...counts.keys()].map((colour) => {
    const distances = palette.map((other) => distance(colour, other));
    return [colour, distances.indexOf(Math.min(...distances))];
  }));
  // Two pixels a byte; each line begins with a byte that says how it is filtered: not at all.
  const line = 1 + Math.ceil(width / 2);
  const lines = Buffer.alloc(line * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const index = nearest.get(colourAt((y * width + x) * 4));
      lines[y * line + 1 + (x >> 1)] |= x % 2 === 0 ? index << 4 : index;
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([4, 3, 0, 0, 0], 8);
  const colours = Buffer.from(palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]));
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('PLTE', colours),
    chunk('IDAT', deflateSync(lines, { level: 9 })), chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(kind, data) {
  const body = Buffer.concat([Buffer.from(kind, 'latin1'), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc(body));
  return Buffer.concat([length, body, sum]);
}

function crc(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
