/**
 * The log on its way out: in order, whole, and bounded while nobody reads.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { type LineOutput, LogWriter } from "../../src/cli/log_writer.ts";

/** A pipe with room for so many bytes, and the time passing when a test says so. */
class Pipe implements LineOutput {
  room: number;
  gone = false;
  text = "";
  #due: (() => void)[] = [];

  constructor(room: number) {
    this.room = room;
  }

  write(bytes: Uint8Array): number {
    if (this.gone) throw Object.assign(new Error("gone"), { code: "EPIPE" });
    if (this.room === 0) throw Object.assign(new Error("full"), { code: "EAGAIN" });
    const taken = bytes.subarray(0, this.room);
    this.room -= taken.length;
    this.text += Buffer.from(taken).toString();
    return taken.length;
  }

  after(_: number, run: () => void): void {
    this.#due.push(run);
  }

  get timers(): number {
    return this.#due.length;
  }

  /** Somebody reads so much, and the time is over. */
  drain(room: number): void {
    this.room += room;
    for (const run of this.#due.splice(0)) run();
  }
}

const tell = (count: number) => `dropped ${count}\n`;

describe("LogWriter", () => {
  it("has a line out before it returns", () => {
    const pipe = new Pipe(100);
    new LogWriter(pipe, tell).write("hello\n");
    assert.equal(pipe.text, "hello\n");
    assert.equal(pipe.timers, 0);
  });

  it("keeps lines whole and in order, however little room there is", () => {
    const lines = fc.array(fc.string({ minLength: 1, maxLength: 20, unit: "grapheme-ascii" }));
    fc.assert(
      fc.property(lines, fc.array(fc.nat({ max: 30 })), (texts, rooms) => {
        const pipe = new Pipe(5);
        const writer = new LogWriter(pipe, tell);
        for (const [i, text] of texts.entries()) {
          writer.write(`${text}\n`);
          pipe.drain(rooms[i] ?? 0);
        }
        pipe.drain(Infinity);
        assert.equal(pipe.text, texts.map((text) => `${text}\n`).join(""));
      }),
    );
  });

  it("drops what exceeds its bound, and says so once there is room", () => {
    const pipe = new Pipe(0);
    const writer = new LogWriter(pipe, tell);
    const line = `${"x".repeat(1023)}\n`;
    for (let i = 0; i < 1024 + 7; i++) writer.write(line);
    assert.equal(pipe.timers, 1, "one timer, however many lines wait");
    pipe.drain(Infinity);
    assert.equal(pipe.text, line.repeat(1024) + tell(7));
    writer.write("on\n");
    assert(pipe.text.endsWith("dropped 7\non\n"));
  });

  it("goes on without a reader that is gone", () => {
    const pipe = new Pipe(10);
    const writer = new LogWriter(pipe, tell);
    pipe.gone = true;
    writer.write("lost\n");
    pipe.gone = false;
    writer.write("next\n");
    assert.equal(pipe.text, "next\n");
    assert.equal(pipe.timers, 0);
  });
});
