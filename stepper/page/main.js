// What is to be shown: it is in the page, deflated, in base64; or whoever serves the page has it.

import { Desk } from './desk.js';
import { Live } from './live.js';

function bytesOf(id) {
  const text = document.getElementById(id)?.textContent;
  if (text === undefined) return undefined;
  const letters = atob(text.trim());
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
  return bytes;
}

function inflated(id) {
  const bytes = bytesOf(id);
  return bytes && new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
}

async function whole(id) {
  const stream = inflated(id);
  return stream && new Uint8Array(await new Response(stream).arrayBuffer());
}

async function main() {
  const loopText = new TextDecoder().decode((await whole('loop')) ?? new Uint8Array(0));
  const desk = new Desk({ loopText, output: await whole('output') });
  // For tests, and for whoever looks in from the console.
  window.desk = desk;
  const trace = await whole('trace');
  if (trace) await desk.load(trace, true);
  else await new Live(desk).follow();
}

main().catch((error) => {
  document.getElementById('message').textContent = `This page cannot show its recording: ${error.message}`;
  throw error;
});
