/**
 * The whole state of a mirror as text, one way only: the mirror in Rust and the kernel itself print the same.
 *
 * Only tests ask for it, so the page is not burdened with it. It names nothing outside, so that it can be handed to
 * Chromium as it is.
 */
export function canonicalText(mirror) {
  const { tables } = mirror;
  const sorted = (table) => [...table.values()].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const siteLine = ({ file, line, column }) => `${file}:${line}:${column}`;
  const siteText = (site) => siteLine(tables.site(site));
  // In quotes, with what one would not see written out: as Rust's `{:?}` has it.
  const quoted = (text) => {
    const short = { '"': '\\"', '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\0': '\\0' };
    const hidden = /["\\]|(?! )[\p{C}\p{Z}\p{Grapheme_Extend}]/gu;
    return `"${text.replace(hidden, (c) => short[c] ?? `\\u{${c.codePointAt(0).toString(16)}}`)}"`;
  };
  const named = (name) => (name === undefined ? '-' : quoted(tables.str(name)));
  const taskLine = (task) => `task ${task.id} ${named(task.name)} parent ${task.parent ?? '-'}` +
    `${task.daemon ? ' daemon' : ''} at ${siteText(task.site)}: ${task.state}, dispatches ${task.dispatches}`;
  const onText = (on) => {
    switch (on.for) {
      case 'deadline': return `deadline ${on.time}`;
      case 'exit': return `exit of ${on.task}`;
      case 'object': return `object ${on.object} ${tables.str(on.role)}`;
      case 'fd': return `fd ${on.fd} ${tables.str(on.role)}`;
    }
    return 'somebody';
  };
  const callLine = (call) => {
    const around = tables.stack(call.stack).map((site) => ` < ${siteLine(site)}`).join('');
    return ` ${tables.str(call.what)} at ${siteText(call.site)}${around}: ${onText(call.on)}`;
  };
  const objectLine = (object, waiting) => {
    const [holder, holders] = [mirror.field(object.id, 'holder'), mirror.field(object.id, 'holders')];
    const said = [];
    if (holder?.is === 'held') said.push(`held by ${holder.task ?? '-'} since ${siteText(holder.since)}`);
    if (holders?.is === 'count') said.push(`holders ${holders.number}`);
    const beside = said.length > 0 ? ` ${said.join(', ')}` : '';
    const calls = waiting.map((call) => ` ${call.id}`).join('');
    return `object ${object.id} ${tables.str(object.sort)} ${named(object.name)}${beside}: waiting${calls}`;
  };

  const ready = mirror.ready();
  const lines = [`step ${mirror.step}`, `running ${mirror.running ?? '-'}`, `ready ${ready.length === 0 ? '-' : ready.join(' ')}`];
  const ofNobody = [];
  const byTask = new Map();
  for (const call of sorted(mirror.calls).filter((call) => call.on)) {
    if (!mirror.tasks.has(call.task)) ofNobody.push(call);
    else if (byTask.has(call.task)) byTask.get(call.task).push(call);
    else byTask.set(call.task, [call]);
  }
  for (const task of sorted(mirror.tasks)) {
    lines.push(taskLine(task));
    for (const call of byTask.get(task.id) ?? []) lines.push(`  call ${call.id}${callLine(call)}`);
  }
  for (const call of ofNobody) lines.push(`call ${call.id} of nobody${callLine(call)}`);
  const tokens = [...mirror.calls.values()].filter(({ on }) => on?.for === 'object' && tables.str(on.role) === 'token');
  const wanted = new Set(tokens.map((call) => call.on.object));
  for (const object of sorted(mirror.objects).filter((object) => wanted.has(object.id))) {
    const waiting = tokens.filter((call) => call.on.object === object.id);
    waiting.sort((a, b) => a.order - b.order);
    lines.push(objectLine(object, waiting));
  }
  return lines.join('\n') + '\n';
}
