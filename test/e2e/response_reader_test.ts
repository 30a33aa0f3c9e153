/**
 * The reader all black-box tests see the server through must not depend on
 * where the network cuts the bytes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ResponseReader } from "./response_reader.ts";

const WITH_LENGTH = "HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello";
const CHUNKED =
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\n\r\n";
const WITH_TRAILER =
  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n";
const WITHOUT_BODY = "HTTP/1.1 204 No Content\r\nNext-Cursor: c\r\n\r\n";
const CONTINUED = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

function read(parts: readonly string[], { close = false } = {}): string[] {
  const seen: string[] = [];
  let body = "";
  const reader = new ResponseReader({
    onHead: ({ headers }) => {
      body = headers.get("x-a") ?? "";
    },
    onBody: (chunk) => {
      body += Buffer.from(chunk).toString();
    },
    onEnd: ({ status }) => void seen.push(`${status} ${body}`),
  });
  for (const part of parts) reader.push(Buffer.from(part));
  if (close) reader.closed();
  return seen;
}

describe("ResponseReader", () => {
  it("reads the same responses wherever the bytes are cut", () => {
    const all = [WITH_LENGTH, CHUNKED, WITHOUT_BODY, CONTINUED, WITH_TRAILER, WITH_LENGTH].join("");
    const expected = [
      "201 1, 2hello",
      "200 abc0123456789",
      "204 ",
      "200 ",
      "200 ok",
      "201 1, 2hello",
    ];
    fc.assert(
      fc.property(fc.array(fc.nat(all.length), { maxLength: 30 }), (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), all.length];
        const parts = at.slice(1).map((end, index) => all.slice(at[index], end));
        assert.deepEqual(read(parts), expected);
      }),
    );
  });

  it("ends a body without a length at the end of the connection", () => {
    const response = "HTTP/1.1 200 OK\r\n\r\nuntil here";
    assert.deepEqual(read([response]), []);
    assert.deepEqual(read([response], { close: true }), ["200 until here"]);
  });

  it("does not call a body whole that was cut off", () => {
    assert.deepEqual(read([WITH_LENGTH.slice(0, -1)], { close: true }), []);
    assert.deepEqual(read([CHUNKED.slice(0, -3)], { close: true }), []);
  });

  it("expects no body after HEAD", () => {
    const ends: number[] = [];
    const reader = new ResponseReader({
      onHead: () => {},
      onBody: () => assert.fail("no body"),
      onEnd: ({ status }) => void ends.push(status),
    });
    reader.expect("HEAD");
    reader.push(Buffer.from(WITH_LENGTH.slice(0, -5)));
    assert.deepEqual(ends, [201]);
  });
});
