// The page of one file: what is to be shown is in it, deflated, in base64.

import { Desk } from './desk.js';

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
  desk.push(await whole('trace'));
  await desk.load(true);
  // For tests, and for whoever looks in from the console.
  window.desk = desk;
}

main().catch((error) => {
  document.getElementById('message').textContent = `This page cannot show its recording: ${error.message}`;
  throw error;
});
