#!/usr/bin/env python3
"""Reads a trace of Trapline's, and prints what is in it: a summary, and then each record on a line.

The format is described in docs/trace-format.md, whose tables stand here as templates. Of the words of a template,
those in capitals are fields, to be read or remembered, and the others are printed as they are. `2?TASK:RUNNING` is
`TASK` where the flag 2 is set, else `RUNNING`. Usage: read_trace.py FILE"""

import re
import struct
import sys
import zlib

MASK = (1 << 64) - 1

VALUES = ["nothing", "count N", "bytes N", "nanos N", "time LATER", "task N", "object N", "text N", "held - N",
          "held N N", "fd SIGNED", "os SIGNED", "payload HEX"]
CAUSES = ["task NEAR_TASK", "exit NEAR_TASK", "timer", "fd SIGNED", "thread N", "outside", "program", "order"]
REMARKS = ["said ABOUT N N N", "cycle LIST", "output N", "source N BYTE HEX", "property N N"]
ON = ["deadline LATER", "exit TASK", "object SAME_OBJECT N", "object OBJECT N", "fd SIGNED N", "somebody"]
STEP_ENDS = ["ran", "outside", "finished", "deadlock", "stalled", "driver-failed"]
TASK_ENDS = ["returned", "panicked", "killed", "cancelled"]
ABOUT = ["run", "task", "call", "object"]

# The bytes with which a record may begin, from its own to the one with all flags. Of a task born, they come after.
RECORDS = [
    (0x00, 0x00, "reset N RESET N"), (0x01, 0x01, "string HEX"), (0x02, 0x02, "site N N N"), (0x03, 0x03, "stack N N"),
    *((0x08 + i, 0x08 + i, f"end {word}") for i, word in enumerate(STEP_ENDS)),
    (0x10, 0x10, "born TASK 8?NEAR_TASK:- 16?N:- N 1?running:2?blocked:ready 4?daemon:- N"),
    (0x11, 0x11, "first TASK"), (0x12, 0x12, "withdrawn OLDER_CALL"), (0x13, 0x13, "booked OLDER_CALL MAYBE_TASK"),
    *((0x14 + i, 0x14 + i, f"ended TASK {word}") for i, word in enumerate(TASK_ENDS)),
    (0x18, 0x18, "object OBJECT N MAYBE MAYBE"), (0x19, 0x19, "gone OBJECT"), (0x1A, 0x1A, "outside N TIME"),
    (0x20, 0x21, "ready TASK by 1?SAME_CAUSE:CAUSE"),
    (0x22, 0x22, "taken NOW_RUNNING TIME"),
    (0x24, 0x27, "rested 2?TASK:RUNNING 1?ready:blocked"),
    (0x28, 0x2B, "woken TASK by 2?CAUSE:SAME_CAUSE 1?1:0"),
    (0x2C, 0x2D, "set 1?OBJECT:SAME_OBJECT N VALUE"),
    (0x30, 0x37, "begun 1?TASK:RUNNING 2?NEAR_CALL:NEXT_CALL 4?NEW_CALL_SHAPE:CALL_SHAPE VALUE"),
    *((0x40 + 2 * i, 0x41 + 2 * i, f"blocked 1?OLDER_CALL:CALL {on}") for i, on in enumerate(ON)),
    (0x50, 0x5F, "answered 1?OLDER_CALL:CALL by 2?RUNNING_CAUSE:4?SAME_CAUSE:CAUSE 8?VALUE:nothing"),
    (0x70, 0x7F, "done 1?MAYBE_TASK:RUNNING 2?OBJECT:SAME_OBJECT 4?NEW_SHAPE:SHAPE 8?RESULT:SAME_RESULT"),
]
TEMPLATES = {code: (code - first, text) for first, last, text in RECORDS for code in range(first, last + 1)}

# How each field is read, by a reader `r`, and what it changes of what is remembered.
FIELDS = {
    "N": lambda r: r.n(), "SIGNED": lambda r: r.signed(), "BYTE": lambda r: r.byte(), "HEX": lambda r: r.bytes().hex(),
    "RESET": lambda r: r.reset(r.n()), "LIST": lambda r: " ".join(str(r.n()) for _ in range(r.n())),
    "MAYBE": lambda r: number - 1 if (number := r.n()) else "-",
    "LATER": lambda r: (r.time + r.n()) & MASK, "TIME": lambda r: r.set("time", r.time + r.n()),
    "TASK": lambda r: r.set("task", r.task + r.signed()), "NEAR_TASK": lambda r: (r.task + r.signed()) & MASK,
    "MAYBE_TASK": lambda r: FIELDS["TASK"](r) if r.byte() else "-",
    "NOW_RUNNING": lambda r: r.set("running", FIELDS["TASK"](r)), "RUNNING": lambda r: r.running,
    "OBJECT": lambda r: r.set("object", r.object + r.signed()), "SAME_OBJECT": lambda r: r.object,
    "CALL": lambda r: r.call, "OLDER_CALL": lambda r: (r.call - r.n()) & MASK,
    "NEXT_CALL": lambda r: r.set("call", r.call + 1), "NEAR_CALL": lambda r: r.set("call", r.call + r.signed()),
    "CALL_SHAPE": lambda r: r.shape(r.calls), "NEW_CALL_SHAPE": lambda r: r.new_shape(r.calls),
    "SHAPE": lambda r: r.shape(r.operations), "NEW_SHAPE": lambda r: r.new_shape(r.operations),
    "RESULT": lambda r: r.new_result(r.tagged(VALUES)), "SAME_RESULT": lambda r: r.last_shape[1],
    "CAUSE": lambda r: r.set("cause", r.tagged(CAUSES)), "SAME_CAUSE": lambda r: r.cause,
    "RUNNING_CAUSE": lambda r: r.set("cause", f"task {r.running}"),
    "VALUE": lambda r: r.tagged(VALUES), "ABOUT": lambda r: ABOUT[r.byte()],
}


class Reader:
    """What is remembered from record to record."""

    def reset(self, time):
        self.time, self.task, self.running, self.call, self.object = time, 0, 0, 0, 0
        self.cause, self.calls, self.operations = "program", [], []
        return time

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def n(self):
        number, shift = 0, 0
        while (byte := self.byte()) >= 0x80:
            number, shift = number | (byte & 0x7F) << shift, shift + 7
        return number | byte << shift

    def signed(self):
        number = self.n()
        return number >> 1 ^ -(number & 1)

    def bytes(self):
        length = self.n()
        self.at += length
        return bytes(self.data[self.at - length:self.at])

    def set(self, name, value):
        setattr(self, name, value & MASK if isinstance(value, int) else value)
        return getattr(self, name)

    def tagged(self, templates):
        tag = self.byte()
        if tag >= 0x40:
            return f"fd {tag - 0x80}" if tag >= 0x80 else f"count {tag - 0x40}"
        return self.line(templates[tag])

    def shape(self, shapes):
        """One of the last 256, by its place among them, and the last result that it had."""
        self.last_shape = shapes[-1 - (len(shapes) - 1 - self.byte()) % 256]
        return self.last_shape[0]

    def new_shape(self, shapes):
        self.last_shape = [self.line("string N site N stack N"), "nothing"]
        shapes.append(self.last_shape)
        return self.last_shape[0]

    def new_result(self, result):
        self.last_shape[1] = "nothing" if result.startswith("payload") else result
        return result

    def line(self, template, flags=0):
        words = []
        for word in template.split():
            while "?" in word:
                flag, yes, no = re.split("[?:]", word, maxsplit=2)
                word = yes if flags & int(flag) else no
            words.append(str(FIELDS[word](self)) if word in FIELDS else word)
        return " ".join(words)

    def record(self):
        """The next record as a line; an empty one for a remark of an unknown kind."""
        code = self.byte()
        if code == 0x04:
            kind, length = self.byte(), self.n()
            end = self.at + length
            line = self.line(REMARKS[kind]) if kind < len(REMARKS) else ""
            self.at = end
            return line
        flags, template = TEMPLATES[code]
        return self.line(template, self.byte() if code == 0x10 else flags)

    def lines(self, records):
        self.data, self.at = records, 0
        while self.at < len(records):
            yield self.record()


def chunks(data):
    """The records of each chunk, up to the first that is damaged."""
    at = 12
    while at < len(data):
        header = data[at:at + 16]
        length = int.from_bytes(header[:4], "little")
        records = data[at + 16:at + 16 + length]
        if len(records) < length or zlib.crc32(header[:12] + records) != int.from_bytes(header[12:], "little"):
            return print("the file is damaged or cut off here", file=sys.stderr)
        yield records
        at += 16 + length


def main():
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    magic, major, minor = struct.unpack("<8sHH", data[:12].ljust(12, b"\0"))
    if magic != b"TRAPLINE" or major != 1:
        sys.exit("this is not a trace of version 1")
    reader = Reader()
    lines = [line for records in chunks(data) for line in reader.lines(records) if line]
    steps = sum(line.startswith("end ") for line in lines)
    print(f"version {major}.{minor}, {len(lines)} records, {steps} steps")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
