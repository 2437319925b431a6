// The gallery of the lessons, opened from disk in Chromium: each is gone through, stop by stop. `tests/gallery.rs` makes
// it, and says by the environment variable PAGES where it is.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const index = pathToFileURL(join(process.env.PAGES, 'index.html')).href;
let browser;

before(async () => {
  const executablePath = '/usr/bin/chromium';
  assert.ok(existsSync(executablePath), 'Chromium is missing: apt-get install --yes chromium');
  browser = await chromium.launch({ executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu'] });
});

after(() => browser?.close());

/** A page that has said nothing amiss and asked nobody, once it is done with. */
async function withPage(size, act) {
  const page = await browser.newPage({ viewport: size });
  const [said, requests] = [[], []];
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(`${error}`));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(index);
  await act(page);
  assert.deepEqual(said, []);
  assert.ok(requests.every((url) => url.startsWith('file:')), requests.join(' '));
  await page.close();
}

async function openLesson(page, at) {
  await page.goto(index);
  await page.getByRole('link').nth(at).click();
  await page.waitForFunction(() => window.desk?.isLoading === false);
}

test('every lesson gone through then each stop has its text, its panes, and its answer', async () => {
  await withPage({ width: 1280, height: 800 }, async (page) => {
    const count = await page.getByRole('link').count();
    assert.equal(count, 8);
    for (let at = 0; at < count; at++) {
      await openLesson(page, at);
      const stops = await page.evaluate(() => window.desk.lesson.stops.map(({ panes, question, answer }) => ({ panes, question, answer })));
      assert.ok(stops.length >= 5);
      let before = -1;
      for (const [number, { panes, question, answer }] of stops.entries()) {
        await page.keyboard.press('l');
        const place = `lesson ${at + 1}, stop ${number + 1}`;
        const step = await page.evaluate(() => window.desk.scene.step);
        assert.ok(step > before, place);
        before = step;
        assert.match(await page.locator('#title-lesson').innerText(), new RegExp(`^${number + 1} of ${stops.length}: `), place);
        assert.ok(!['a cycle', 'this run'].includes((await page.locator('#message').innerText()).slice(0, 8)), place);
        for (const pane of panes) assert.ok(await page.locator(`#pane-${pane}`).isVisible(), `${place}: ${pane}`);
        const plain = (text) => text.replaceAll(/[`*]/g, '');
        assert.ok((await page.locator('#body-lesson').innerText()).includes(plain(question)), place);
        await page.keyboard.press('Enter');
        assert.ok((await page.locator('#body-lesson').innerText()).includes(plain(answer)), place);
        // All of it can be read at once, and so can what happens.
        for (const id of ['#pane-lesson', '#pane-sentence']) {
          if (id === '#pane-sentence' && !panes.includes('sentence')) continue;
          const box = await page.locator(id).boundingBox();
          assert.ok(box.y >= 0 && box.y + box.height <= 800, `${place}: ${id} ${JSON.stringify(box)}`);
        }
      }
      await page.keyboard.press('l');
      assert.equal(await page.locator('#message').innerText(), 'the lesson has no further stop');
    }
  });
});

test('lessons at 200 % zoom then the text is as wide as the window, and the page no wider', async () => {
  await withPage({ width: 640, height: 400 }, async (page) => {
    for (let at = 0; at < 8; at++) {
      await openLesson(page, at);
      await page.keyboard.press('l');
      const box = await page.locator('#pane-lesson').boundingBox();
      assert.ok(box.width > 600, JSON.stringify(box));
      const beyond = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert.ok(beyond <= 0, `${beyond}`);
      // The next thing that is read after the sentence.
      const above = await page.locator('#pane-source, #pane-ready').evaluateAll((all) =>
        all.filter((pane) => !pane.hidden).map((pane) => pane.getBoundingClientRect().y));
      assert.ok(above.every((y) => y > box.y), 'the lesson comes before the source');
    }
  });
});

test('index then it can be read by Tab and Enter, and tells of each lesson', async () => {
  await withPage({ width: 1280, height: 800 }, async (page) => {
    assert.ok(await page.getByRole('main').getByRole('heading', { name: 'Lessons' }).isVisible());
    assert.match(await page.getByRole('listitem').nth(2).innerText(), /Spawn and wait\s+A guest orders three dishes.*\s+7 stops, 14 steps/);
    for (let at = 0; at < 3; at++) await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => window.desk?.isLoading === false);
    assert.equal(await page.locator('#title').innerText(), 'lesson_3_wait');
  });
});
