// How one speaks of tasks, things, lines and values: as on the terminal.

export function short(task) {
  return `T${task}`;
}

/** A task and its name, if it has one. */
export function taskName(task, history) {
  const name = history.names.get(task);
  return name === undefined ? short(task) : `T${task} (${name})`;
}

/** "T1, T2 and T3"; of many, the first few and how many more there are. */
export function several(tasks) {
  const names = tasks.slice(0, 6).map(short);
  if (tasks.length > 6) names.push(`${tasks.length - 6} more`);
  if (names.length === 0) return 'nobody';
  if (names.length === 1) return names[0];
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}

/** A thing: by its name, else by where it was made, else by its number. */
export function thing(number, mirror) {
  const object = mirror.objects.get(number);
  if (!object) return `thing ${number}`;
  const sort = mirror.tables.str(object.sort);
  if (object.name !== undefined) {
    const name = mirror.tables.str(object.name);
    return name.startsWith('fd ') ? name : `${sort} \`${name}\``;
  }
  if (object.site !== undefined) {
    const at = siteName(object.site, mirror);
    // Some are not called by a word but by what is waited for: "a value of a channel".
    return /^(the|a|an) | .* /.test(sort) ? `${sort} (${at})` : `the ${sort} of ${at}`;
  }
  return `${sort} ${number}`;
}

/** A line of the source, as short as one still knows which is meant. */
export function siteName(site, mirror) {
  const { file, line } = mirror.tables.site(site);
  return place(file, line);
}

export function place(file, line) {
  return `${shownFile(file)}:${line}`;
}

export function shownFile(file) {
  const parts = file.split(/[/\\]/);
  const base = parts.at(-1);
  const registry = parts.findIndex((part, at) => part === 'registry' && parts[at + 1] === 'src');
  const split = /^(.*?)-(\d.*)$/.exec(parts[registry + 3] ?? '');
  if (registry >= 0 && split) return `${split[1]} ${split[2]}: ${base}`;
  const git = parts.findIndex((part, at) => part === 'git' && parts[at + 1] === 'checkouts');
  const [repository, commit, beneath] = git < 0 ? [] : parts.slice(git + 2);
  const dash = repository?.lastIndexOf('-') ?? -1;
  if (dash >= 0 && beneath !== undefined) return `${repository.slice(0, dash)} ${commit}: ${base}`;
  const library = parts.indexOf('library');
  if (parts.includes('rustc') && library >= 0 && parts[library + 1]) return `${parts[library + 1]}: ${base}`;
  const kept = { 'mod.rs': 2, 'lib.rs': 3, 'main.rs': 3 }[base] ?? 1;
  return parts.slice(-kept).join('/');
}

export function causeName(cause, mirror) {
  switch (cause.by) {
    case 'task': return short(cause.number);
    case 'exit': return `the end of T${cause.number}`;
    case 'timer': return 'the clock';
    case 'fd': return `fd ${cause.number}`;
    case 'thread': return `the thread \`${mirror.tables.str(cause.number)}\``;
    case 'outside': return 'the outside';
    case 'program': return 'the program';
  }
  return 'an order';
}

const ROLES = { read: 'something to read from ', write: 'room to write into ' };

/** For what a call waits. */
export function onName(on, mirror) {
  switch (on.for) {
    case 'deadline': return `the clock, until ${clockName(on.time)}`;
    case 'exit': return `the end of T${on.task}`;
    case 'object': return (ROLES[mirror.tables.str(on.role)] ?? '') + thing(on.object, mirror);
    case 'fd': return `${ROLES[mirror.tables.str(on.role)] ?? ''}fd ${on.fd}`;
  }
  return "somebody's answer";
}

const ERRORS = {
  1: 'Operation not permitted', 2: 'No such file or directory', 4: 'Interrupted system call', 9: 'Bad file descriptor',
  11: 'Resource temporarily unavailable', 12: 'Cannot allocate memory', 13: 'Permission denied', 22: 'Invalid argument',
  24: 'Too many open files', 32: 'Broken pipe', 98: 'Address already in use', 99: 'Cannot assign requested address',
  103: 'Software caused connection abort', 104: 'Connection reset by peer', 107: 'Transport endpoint is not connected',
  110: 'Connection timed out', 111: 'Connection refused', 113: 'No route to host', 115: 'Operation now in progress',
};

export function valueName(value, mirror) {
  switch (value.is) {
    case 'nothing': return '';
    case 'count': return `${value.number}`;
    case 'bytes': return value.number === 1 ? '1 byte' : `${value.number} bytes`;
    case 'nanos': return duration(value.number);
    case 'time': return clockName(value.number);
    case 'task': return short(value.number);
    case 'object': return thing(value.number, mirror);
    case 'fd': return `fd ${value.number}`;
    case 'held': return value.task === undefined ? 'somebody' : short(value.task);
    case 'text': return mirror.tables.str(value.number);
    case 'os': return `${ERRORS[value.number] ?? `Unknown error ${value.number}`} (os error ${value.number})`;
  }
  return `"${asciiText(value.bytes)}"`;
}

/** Bytes, as in a byte string. */
export function asciiText(bytes) {
  const short = { 9: '\\t', 10: '\\n', 13: '\\r', 34: '\\"', 39: "\\'", 92: '\\\\' };
  const hex = (byte) => `\\x${byte.toString(16).padStart(2, '0')}`;
  const letter = (byte) => short[byte] ?? (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : hex(byte));
  return Array.from(bytes, letter).join('');
}

/** A length of time, with three digits or so. */
export function duration(nanos) {
  const length = BigInt(nanos);
  if (length < 1000n) return `${length} ns`;
  const units = [[1000n, 'µs'], [1000000n, 'ms'], [1000000000n, 's']];
  const [unit, name] = units.find(([unit]) => length < unit * 1000n) ?? units[2];
  const [whole, hundredths] = [length / unit, ((length % unit) * 100n) / unit];
  if (whole < 10n) return `${whole}.${String(hundredths).padStart(2, '0')} ${name}`;
  return whole < 100n ? `${whole}.${hundredths / 10n} ${name}` : `${whole} ${name}`;
}

/** An instant on the clock of the program: to the millisecond, and finer where that says something. */
export function clockName(nanos) {
  const time = BigInt(nanos);
  const [seconds, rest] = [time / 1000000000n, time % 1000000000n];
  if (rest % 1000000n === 0n) return `${seconds}.${String(rest / 1000000n).padStart(3, '0')} s`;
  return `${seconds}.${String(rest / 1000n).padStart(6, '0')} s`;
}

export function ordinal(place) {
  const isTeen = place % 100 >= 11 && place % 100 <= 13;
  return `${place}${(!isTeen && { 1: 'st', 2: 'nd', 3: 'rd' }[place % 10]) || 'th'}`;
}

export function plural(count, one) {
  return count === 1 ? `${count} ${one}` : `${count} ${one}s`;
}

/** With a large letter first, except where a name stands first. */
export function capital(text) {
  return text.startsWith('fd ') ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

/** A text that may be anybody's: what one would not see, or what would turn the line about, is written out. */
export function plain(text) {
  const escapes = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}]/gu,
    (c) => escapes[c] ?? `\\u{${c.codePointAt(0).toString(16)}}`);
}
