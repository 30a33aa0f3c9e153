/** @module */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createLog, type LogOptions } from "../../src/cli/log.ts";

const TIME = Date.UTC(2026, 10, 22, 8, 0, 0, 123);

function logInto(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const log = createLog({ level: "info", format: "text", write, now: () => TIME, ...options });
  return { lines, log };
}

describe("createLog()", () => {
  it("writes an event as one line of text", () => {
    const { lines, log } = logInto();
    log("warn", "Disk is nearly full", { path: "/srv/log", free: 12, reason: undefined });
    const expected = "2026-11-22T08:00:00.123Z warn  Disk is nearly full path=/srv/log free=12\n";
    assert.deepEqual(lines, [expected]);
  });

  it("writes an event as one JSON object a line", () => {
    const { lines, log } = logInto({ format: "json" });
    log("info", "Ready", { port: 8080, end: 12n });
    assert.deepEqual(JSON.parse(lines[0] ?? ""), {
      time: "2026-11-22T08:00:00.123Z",
      level: "info",
      message: "Ready",
      port: 8080,
      end: "12",
    });
  });

  it("drops what is below its level", () => {
    const { lines, log } = logInto({ level: "warn" });
    for (const level of ["debug", "info", "warn", "error"] as const) log(level, level);
    assert.deepEqual(
      lines.map((line) => line.trim().split(" ").at(-1)),
      ["warn", "error"],
    );
  });

  for (const format of ["text", "json"] as const) {
    it(`lets no value break a line of ${format}`, () => {
      const { lines, log } = logInto({ format });
      log("info", "Refused", {
        path: "/\r\n2026-11-22 info  Forged\u2028",
        error: new Error("a\nb"),
      });
      assert.equal(lines.length, 1);
      assert.doesNotMatch(lines[0]?.slice(0, -1) ?? "", /[\r\n]/);
    });
  }

  it("takes a message as it is, braces and all", () => {
    const { lines, log } = logInto();
    log("info", "A {name} of {{nothing}}", { name: "x" });
    assert.match(lines[0] ?? "", /info  A \{name\} of \{\{nothing\}\} name=x\n$/);
  });

  it("colours the level on a terminal, and nothing a stranger sent", () => {
    const { lines, log } = logInto({ colors: true });
    log("error", "Refused", { path: "/\u001b[31m" });
    const line = lines[0] ?? "";
    assert(line.includes("\u001b[31merror\u001b[0m"), line);
    assert(line.includes('path="/\\u001b[31m"'), line);
    assert.equal(line.split("\n").length, 2);
  });

  it("keeps a value from posing as the message or the level", () => {
    const { lines, log } = logInto({ format: "json" });
    log("info", "Refused", { message: "All is well", level: "debug" });
    const { message, level } = JSON.parse(lines[0] ?? "") as Record<string, string>;
    assert.deepEqual({ message, level }, { message: "Refused", level: "info" });
  });

  it("tells an error's code, stack and cause", () => {
    const { lines, log } = logInto({ format: "json" });
    const cause = Object.assign(new Error("no space"), { code: "ENOSPC" });
    log("error", "The disk failed", { error: new Error("Cannot sync", { cause }) });
    const { error } = JSON.parse(lines[0] ?? "") as {
      error: { message: string; stack: string; cause: { code: string } };
    };
    assert.equal(error.message, "Cannot sync");
    assert.match(error.stack, /log_test/);
    assert.equal(error.cause.code, "ENOSPC");
  });
});
