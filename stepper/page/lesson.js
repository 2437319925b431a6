// Lessons: comments in a program's source that say where to stop, what to look at, and what to ask.

const MARK = 'LESSON ';

/**
 * The lesson that a recording's sources tell; the first, if several do. Its stops are in the order of their steps,
 * wherever they stand in the text.
 */
export function lessonOf(recording, history) {
  const texts = [...recording.sources.values()].map(({ text }) => parseLesson(text));
  const lesson = texts.find((lesson) => lesson !== undefined);
  const at = (stop) => stepOf(stop, recording, history) ?? Infinity;
  lesson?.stops.sort((a, b) => (at(a) < at(b) ? -1 : at(a) > at(b) ? 1 : 0));
  return lesson;
}

function parseLesson(text) {
  let title;
  let isOpen = false;
  const stops = [];
  for (const line of text.split('\n')) {
    const [, comment] = /^\s*\/\/(?![/!]) ?(.*?)\s*$/.exec(line) ?? [];
    if (comment === undefined) {
      isOpen = false;
    } else if (comment.startsWith(MARK)) {
      const head = comment.slice(MARK.length).trim();
      const stop = parseStop(head);
      isOpen = stop !== undefined;
      if (stop) stops.push(stop);
      else title ??= head;
    } else if (isOpen) {
      readOn(stops.at(-1), comment);
    }
  }
  return title === undefined ? undefined : { title, stops };
}

/** Which lines of a text are a lesson's own: they are shown beside it, and not in it. The answers stand there. */
export function ownLines(lines) {
  let isOpen = false;
  return lines.map((line) => {
    const [, comment] = /^\s*\/\/(?![/!]) ?(.*)$/.exec(line) ?? [];
    isOpen = comment !== undefined && (isOpen || comment.startsWith(MARK));
    return isOpen;
  });
}

/** `step 3 panes source,ready`, `first call sleep`, `first task ping`, `end`. */
function parseStop(head) {
  const [where, panes = ''] = head.split(' panes ');
  const [, step] = /^step (\d+)$/.exec(where.trim()) ?? [];
  const [, call] = /^first call (.+)$/.exec(where.trim()) ?? [];
  const [, task] = /^first task (.+)$/.exec(where.trim()) ?? [];
  if (where.trim() !== 'end' && (step ?? call ?? task) === undefined) return undefined;
  const words = panes.split(',').map((word) => word.trim()).filter((word) => word !== '');
  const name = task?.replace(/^["`]|["`]$/g, '');
  return { step: step && Number(step), call, task: name, panes: words, text: [], question: undefined, answer: undefined };
}

/** The step at which a stop is; undefined if this run has no such step. */
export function stepOf(stop, recording, history) {
  if (stop.step !== undefined) return stop.step <= recording.last ? stop.step : undefined;
  if (stop.call !== undefined) return history.firstCalls.get(stop.call);
  return stop.task === undefined ? recording.last : history.firstRun(stop.task);
}

/** A line goes on where the one before it ended; an empty one begins a paragraph. */
function readOn(stop, line) {
  const add = (slot, text) => {
    stop[slot] = stop[slot] === undefined ? text.trim() : `${stop[slot]} ${text.trim()}`.trim();
  };
  if (line.startsWith('? ')) add('question', line.slice(2));
  else if (line.startsWith('= ')) add('answer', line.slice(2));
  else if (stop.answer !== undefined) add('answer', line);
  else if (stop.question !== undefined) add('question', line);
  else if (stop.text.length > 0 && stop.text.at(-1) !== '' && line.trim() !== '') {
    stop.text[stop.text.length - 1] += ` ${line.trim()}`;
  } else stop.text.push(line.trim());
}
