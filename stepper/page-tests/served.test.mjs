// The page as `trapline web` serves it. `tests/web.rs` starts the server, and says by the environment variable LINK
// what it has printed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chromium } from 'playwright-core';

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

test('opened, reloaded, and opened without the token', async () => {
  const link = process.env.LINK;
  const { origin, searchParams } = new URL(link);
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
  try {
    const page = await browser.newPage();
    const [said, asked] = [[], []];
    page.on('console', (message) => said.push(message.text()));
    page.on('pageerror', (error) => said.push(`${error}`));
    page.on('request', (request) => asked.push(request.url()));
    await page.goto(link);
    const loaded = () => page.waitForFunction(() => window.desk?.isLoading === false);
    await loaded();
    const sentence = () => page.locator('#body-sentence').innerText();
    assert.match(await sentence(), /^Nothing has run yet\./);
    for (const key of ['n', 'n', 'ArrowDown']) await page.keyboard.press(key);
    assert.match(await sentence(), /T1 has held it since step 1/);
    const before = await page.evaluate(() => location.href);
    assert.match(before, /#step=2&task=1$/);
    assert.ok(!before.includes(searchParams.get('token')));
    await page.reload();
    await loaded();
    assert.equal(await page.evaluate(() => location.href), before);
    assert.match(await sentence(), /T1 has held it since step 1/);
    assert.deepEqual(said.filter((text) => !text.includes('favicon')), []);
    assert.ok(asked.every((url) => url.startsWith(origin)), asked.join(' '));

    // Another window does not know the token.
    const stranger = await (await browser.newContext()).newPage();
    await stranger.goto(`${origin}/`);
    await stranger.waitForFunction(() => document.getElementById('message').textContent !== '');
    assert.match(await stranger.locator('#message').innerText(), /refused: the token is wrong/);
  } finally {
    await browser.close();
  }
});
