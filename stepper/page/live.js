// Whoever serves the page: the recording, which may grow, and the program behind it, which takes orders.

import { Bytes } from './trace.js';

/** How often one asks how the program is, in milliseconds. */
const POLL = 100;

/** What has happened is here within this. */
const PAUSE = 10;

/** What takes longer is told of, and a key ends it. */
const PATIENCE = 300;

/** So many orders are kept that the program has not obeyed yet. */
const ORDERS = 8;

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

export class Live {
  constructor(desk) {
    this.desk = desk;
    const query = new URLSearchParams(location.search);
    this.token = query.get('token') ?? sessionStorage.getItem('token') ?? '';
    sessionStorage.setItem('token', this.token);
    query.delete('token');
    window.history.replaceState(null, '', `?${query}${location.hash}`);
    this.orders = [];
    this.isWaiting = false;
  }

  async ask(path, body, signal) {
    const headers = { 'x-trapline-token': this.token, 'x-trapline-page': this.page ?? '' };
    const answer = await fetch(path, { method: body === undefined ? 'GET' : 'POST', headers, body, signal });
    if (answer.status !== 403) return answer;
    throw new Error(`${await answer.text()} (open the link that the viewer prints)`);
  }

  /** Reads all that there is ever going to be. */
  async follow() {
    // The newest page gives the orders.
    this.page = await (await this.ask('/page', '')).text();
    await this.look();
    if (this.status.hasProgram) this.desk.takeOrders(this);
    for (;;) {
      const { run } = this.status;
      this.shown = run;
      await this.read(run);
      await this.look();
      if (this.status.run === run && !this.status.isLive) {
        await this.desk.load(new Uint8Array(0), true);
        if (!this.status.hasProgram) return;
        while (this.status.run === run) await pause(POLL);
      }
      if (this.status.run !== run) this.begin();
    }
  }

  /** Another run is shown. */
  begin() {
    this.output = undefined;
    this.desk.empty();
  }

  /** The bytes as they come. A page that nobody sees takes up none of the browser's few connections. */
  async read(run) {
    const isSeen = () => new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }));
    if (document.hidden) await isSeen();
    const stopped = new AbortController();
    const stop = () => document.hidden && stopped.abort();
    document.addEventListener('visibilitychange', stop);
    try {
      const from = this.desk.recording.bytes.length;
      const { ok, body } = await this.ask(`/trace?run=${run}&from=${from}`, undefined, stopped.signal);
      const reader = body.getReader();
      for (let part = await reader.read(); ok && !part.done; part = await reader.read()) {
        await this.desk.load(part.value, false);
      }
    } catch (error) {
      if (!stopped.signal.aborted) throw error;
    } finally {
      document.removeEventListener('visibilitychange', stop);
    }
  }

  /** Whether as many bytes have come as there were when one asked last. */
  hasCome(length) {
    return length >= this.status.length;
  }

  /** Asks how the program is; and goes on asking. */
  async look() {
    clearTimeout(this.timer);
    this.status = await (await this.ask('/status')).json();
    await this.readOutput();
    this.desk.heard();
    if (this.status.hasProgram) this.timer = setTimeout(() => this.look().catch((error) => this.desk.lose(error)), POLL);
  }

  async readOutput() {
    const { run, output } = this.status;
    if (output === null) return;
    this.output ??= new Bytes();
    const from = this.output.all.length;
    if (from >= output) return;
    const answer = await this.ask(`/output?run=${run}&from=${from}&to=${output}`);
    if (answer.ok) this.output.push(new Uint8Array(await answer.arrayBuffer()));
    this.desk.output = this.output.all;
  }

  /** Takes one step, as soon as those before are taken. Only the program knows whether it is held: what was heard last may be of the middle of a step. */
  step() {
    if (this.orders.length < ORDERS) this.order('step');
    return true;
  }

  /** Orders are given one after the other. */
  async order(text) {
    if (this.orders.push(text) > 1) return;
    while (this.orders.length > 0) {
      await this.give(this.orders[0]).catch((error) => this.desk.lose(error));
      this.orders.shift();
    }
  }

  async give(order) {
    // What is built is not to be held.
    const timer = order.startsWith('again') ? 0 : setTimeout(() => { this.isWaiting = true; }, PATIENCE);
    const answer = await this.ask('/order', order);
    const [said] = (await answer.text()).split('\n');
    await this.look();
    // The program has not come to it yet.
    while (this.status.isLive && this.status.undone > 0) await pause(POLL);
    // Nor has the page, which may have another run to read.
    const isBehind = () => this.shown !== this.status.run || !this.desk.scene || !this.hasCome(this.desk.recording.bytes.length);
    while (this.status.isLive && isBehind()) await pause(PAUSE);
    clearTimeout(timer);
    this.isWaiting = false;
    this.desk.obeyed(order, said);
  }

  /** Nobody waits any longer for what has been ordered. */
  endWait() {
    this.orders.length = 1;
    this.ask('/order', 'hold').catch((error) => this.desk.lose(error));
  }
}
