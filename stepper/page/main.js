// What is to be shown: it is in the page, deflated, in base64; or whoever serves the page has it.

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

/** The recording of whoever serves this page: its bytes are read as they come. */
async function readServed(desk) {
  const query = new URLSearchParams(location.search);
  const token = query.get('token') ?? sessionStorage.getItem('token') ?? '';
  sessionStorage.setItem('token', token);
  query.delete('token');
  window.history.replaceState(null, '', `?${query}${location.hash}`);
  const response = await fetch('/trace', { headers: { 'x-trapline-token': token } });
  if (!response.ok) throw new Error(`${await response.text()} (open the link that the viewer prints)`);
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    desk.push(part.value);
    if (desk.recording.bytes.length > 12) await desk.load(false);
  }
}

async function main() {
  const loopText = new TextDecoder().decode((await whole('loop')) ?? new Uint8Array(0));
  const desk = new Desk({ loopText, output: await whole('output') });
  // For tests, and for whoever looks in from the console.
  window.desk = desk;
  const trace = await whole('trace');
  if (trace) desk.push(trace);
  else await readServed(desk);
  await desk.load(true);
}

main().catch((error) => {
  document.getElementById('message').textContent = `This page cannot show its recording: ${error.message}`;
  throw error;
});
