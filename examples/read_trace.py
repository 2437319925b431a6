#!/usr/bin/env python3
"""Reads a trace of Trapline's, and prints what is in it: a summary, and then each record on a line.

The format is described in docs/trace-format.md. Usage: read_trace.py FILE"""

import struct
import sys
import zlib

STEP_ENDS = "ran outside finished deadlock stalled driver-failed".split()
ENDS = "returned panicked killed cancelled".split()
MASK = (1 << 64) - 1


class Reader:
    def __init__(self):
        self.strings = 0
        self.reset(0)

    def reset(self, time):
        self.time, self.task, self.running, self.call, self.object = time, 0, 0, 0, 0
        self.cause = "program"
        self.shapes = {"call": [{}, 0], "done": [{}, 0]}

    # Numbers, and what is written as a distance.
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

    def near(self, name):
        setattr(self, name, (getattr(self, name) + self.signed()) & MASK)
        return getattr(self, name)

    def clock(self):
        self.time = (self.time + self.n()) & MASK
        return self.time

    def old_call(self, other=True):
        return (self.call - (self.n() if other else 0)) & MASK

    def maybe(self):
        number = self.n()
        return "-" if number == 0 else number - 1

    def some_task(self):
        return self.near("task") if self.byte() else "-"

    def shape(self, which, is_new):
        entries, place = self.shapes[which][0], 0
        if is_new:
            place = self.shapes[which][1]
            self.shapes[which][1] = (place + 1) % 256
            entries[place] = [f"string {self.n()} site {self.n()} stack {self.n()}", "nothing"]
        else:
            place = self.byte()
        return entries[place]

    def by(self):
        tag = self.byte()
        if tag >= 0x80:
            self.cause = f"fd {tag - 0x80}"
        elif tag < 2:
            self.cause = ("task", "exit")[tag] + f" {(self.task + self.signed()) & MASK}"
        elif tag == 3:
            self.cause = f"fd {self.signed()}"
        elif tag == 4:
            self.cause = f"thread {self.n()}"
        else:
            self.cause = {2: "timer", 5: "outside", 6: "program", 7: "order"}[tag]
        return self.cause

    def value(self):
        tag = self.byte()
        if tag >= 0x40:
            return f"fd {tag - 0x80}" if tag >= 0x80 else f"count {tag - 0x40}"
        if tag == 4:
            return f"time {(self.time + self.n()) & MASK}"
        if tag == 9:
            return f"held {self.n()} {self.n()}"
        if tag in (10, 11):
            return ("fd", "os")[tag - 10] + f" {self.signed()}"
        if tag == 12:
            return "payload " + self.bytes().hex()
        word = ("nothing", "count", "bytes", "nanos", "", "task", "object", "text", "held -")[tag]
        return f"{word} {self.n()}" if tag else word

    def record(self):
        """The next record as a line; an empty one for a remark of an unknown kind."""
        code = self.byte()
        if code == 0x00:
            step, time, missed = self.n(), self.n(), self.n()
            self.reset(time)
            return f"reset {step} {time} {missed}"
        if code == 0x01:
            return "string " + self.bytes().hex()
        if code in (0x02, 0x03):
            numbers = [self.n() for _ in range(5 - code)]
            return ("site", "stack")[code - 2] + "".join(f" {number}" for number in numbers)
        if code == 0x04:
            return self.remark(self.byte(), self.n())
        if 0x08 <= code <= 0x0D:
            return "end " + STEP_ENDS[code - 0x08]
        if code == 0x10:
            flags = self.byte()
            task = self.near("task")
            parent = (task + self.signed()) & MASK if flags & 8 else "-"
            name = self.n() if flags & 16 else "-"
            state = ("ready", "running", "blocked")[flags & 3] + (" daemon" if flags & 4 else "")
            return f"born {task} {parent} {name} {self.n()} {state} {self.n()}"
        if code == 0x11:
            return f"first {self.near('task')}"
        if code == 0x12:
            return f"withdrawn {self.old_call()}"
        if code == 0x13:
            return f"booked {self.old_call()} {self.some_task()}"
        if 0x14 <= code <= 0x17:
            return f"ended {self.near('task')} {ENDS[code - 0x14]}"
        if code == 0x18:
            return f"object {self.near('object')} {self.n()} {self.maybe()} {self.maybe()}"
        if code == 0x19:
            return f"gone {self.near('object')}"
        if code == 0x1A:
            return f"outside {self.n()} {self.clock()}"
        if code in (0x20, 0x21):
            return f"ready {self.near('task')} by {self.cause if code & 1 else self.by()}"
        if code == 0x22:
            self.running = self.near("task")
            return f"taken {self.running} {self.clock()}"
        if 0x24 <= code <= 0x27:
            task = self.near("task") if code & 2 else self.running
            return f"rested {task} {('blocked', 'ready')[code & 1]}"
        if 0x28 <= code <= 0x2B:
            task = self.near("task")
            return f"woken {task} by {self.by() if code & 2 else self.cause} {code & 1}"
        if code in (0x2C, 0x2D):
            object = self.near("object") if code & 1 else self.object
            return f"set {object} {self.n()} {self.value()}"
        if 0x30 <= code <= 0x37:
            task = self.near("task") if code & 1 else self.running
            self.call = (self.call + (self.signed() if code & 2 else 1)) & MASK
            shape = self.shape("call", code & 4)[0]
            return f"begun {self.call} {task} {shape} {self.value()}"
        if 0x40 <= code <= 0x4B:
            call, kind = self.old_call(code & 1), code - 0x40 >> 1
            return f"blocked {call} " + self.on(kind)
        if 0x50 <= code <= 0x5F:
            call = self.old_call(code & 1)
            self.cause = f"task {self.running}" if code & 2 else self.cause if code & 4 else self.by()
            return f"answered {call} by {self.cause} {self.value() if code & 8 else 'nothing'}"
        if 0x70 <= code <= 0x7F:
            task = self.some_task() if code & 1 else self.running
            object = self.near("object") if code & 2 else self.object
            shape = self.shape("done", code & 4)
            result = self.value() if code & 8 else shape[1]
            shape[1] = "nothing" if result.startswith("payload") else result
            return f"done {task} {object} {shape[0]} {result}"
        raise ValueError(f"no record begins with {code:#04x}")

    def on(self, kind):
        if kind == 0:
            return f"deadline {(self.time + self.n()) & MASK}"
        if kind == 1:
            return f"exit {self.near('task')}"
        if kind in (2, 3):
            return f"object {self.near('object') if kind == 3 else self.object} {self.n()}"
        return f"fd {self.signed()} {self.n()}" if kind == 4 else "somebody"

    def remark(self, kind, length):
        end = self.at + length
        line = ""
        if kind == 0:
            about = ("run", "task", "call", "object")[self.byte()]
            line = f"said {about} {self.n()} {self.n()} {self.n()}"
        elif kind == 1:
            line = "cycle" + "".join(f" {self.n()}" for _ in range(self.n()))
        elif kind == 2:
            line = f"output {self.n()}"
        elif kind == 3:
            line = f"source {self.n()} {self.byte()} {self.bytes().hex()}"
        elif kind == 4:
            line = f"property {self.n()} {self.n()}"
        self.at = end
        return line

    def lines(self, records):
        self.data, self.at = records, 0
        while self.at < len(records):
            if line := self.record():
                yield line


def chunks(data):
    """The records of each chunk, up to the first that is damaged."""
    at = 12
    while at < len(data):
        header = data[at:at + 16]
        records = data[at + 16:at + 16 + int.from_bytes(header[:4], "little")]
        if len(header) < 16 or len(records) < int.from_bytes(header[:4], "little"):
            return print("the file ends in the midst of a chunk", file=sys.stderr)
        if zlib.crc32(header[:12] + records) != int.from_bytes(header[12:], "little"):
            return print("the checksum of a chunk is wrong", file=sys.stderr)
        yield records
        at += 16 + len(records)


def main():
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    magic, major, minor = struct.unpack("<8sHH", data[:12])
    if magic != b"TRAPLINE" or major != 1:
        sys.exit("this is not a trace of version 1")
    reader = Reader()
    lines = [line for records in chunks(data) for line in reader.lines(records)]
    steps = sum(line.startswith("end ") for line in lines)
    print(f"version {major}.{minor}, {len(lines)} records, {steps} steps")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
