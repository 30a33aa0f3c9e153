/**
 * Check-backs over real sockets, to targets that redirect, dawdle, flood, lie
 * or hang up: each costs a bounded time and memory, and no other target notices.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { CALLS_MAX, CALLS_PER_HOST_MAX } from "../../src/webhook/caller_node.ts";
import { answering, failedWith, httpTarget, kit, rawTarget, until } from "./kit.ts";

const HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const COMMIT = '{"decision":"commit"}';

describe("a target that redirects", () => {
  for (const status of [301, 302, 303, 307, 308]) {
    it(`is not followed: ${status}`, async () => {
      await using elsewhere = await httpTarget(answering("commit"));
      await using target = await httpTarget((_request, response) => {
        response.writeHead(status, { location: `http://127.0.0.1:${elsewhere.port}/` }).end(COMMIT);
      });
      failedWith(await kit().ask(`http://127.0.0.1:${target.port}/`), /redirects are not followed/);
      assert.deepEqual([target.connections, elsewhere.connections], [1, 0]);
    });
  }
});

describe("a target that dawdles", () => {
  const total = /^no whole answer within 4000 ms$/;
  const connect = /^no connection within 1000 ms$/;
  const dawdlers: readonly (readonly [
    name: string,
    talk: (socket: Socket) => void,
    limit: { scheme: string; ms: number; reason: RegExp },
  ])[] = [
    ["over the TLS handshake", () => {}, { scheme: "https", ms: 1000, reason: connect }],
    ["before the head", () => {}, { scheme: "http", ms: 4000, reason: total }],
    [
      "in the head",
      (socket) => socket.write(`${HEAD}x-drip: `),
      { scheme: "http", ms: 4000, reason: total },
    ],
    [
      "in the body",
      (socket) => socket.write(`${HEAD}content-length: 21\r\n\r\n${COMMIT.slice(0, 20)}`),
      { scheme: "http", ms: 4000, reason: total },
    ],
    [
      "in a chunk",
      (socket) => socket.write(`${HEAD}transfer-encoding: chunked\r\n\r\n15\r\n${COMMIT}\r\n`),
      { scheme: "http", ms: 4000, reason: total },
    ],
    [
      "with interim answers",
      (socket) => socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"),
      { scheme: "http", ms: 4000, reason: total },
    ],
  ];
  for (const [name, talk, { scheme, ms, reason }] of dawdlers) {
    it(`is left when the time is over: ${name}`, async () => {
      let heard = 0;
      await using target = await rawTarget((socket) => {
        socket.on("data", () => heard++);
        talk(socket);
      });
      const { ask, clock } = kit({ timeouts: { connectMs: 1000, totalMs: 4000 } });
      let over = false;
      const asked = ask(`${scheme}://127.0.0.1:${target.port}/`).finally(() => (over = true));
      await until(() => heard > 0, "the target was spoken to");
      clock.advance(ms - 1);
      assert.equal(over, false);
      clock.advance(1);
      failedWith(await asked, reason);
      await until(() => target.open.size === 0, "the connection is closed");
    });
  }

  it("is left when the caller has enough", async () => {
    await using target = await rawTarget(() => {});
    const controller = new AbortController();
    const asked = kit().ask(`http://127.0.0.1:${target.port}/`, { signal: controller.signal });
    await until(() => target.connections > 0, "a connection stands");
    controller.abort();
    failedWith(await asked, /^called off$/);
    await until(() => target.open.size === 0, "the connection is closed");
  });

  it("is not asked when the caller has enough already", async () => {
    await using target = await rawTarget(() => {});
    const asked = kit().ask(`http://127.0.0.1:${target.port}/`, { signal: AbortSignal.abort() });
    failedWith(await asked, /^called off$/);
    assert.equal(target.connections, 0);
  });
});

describe("a target that floods", () => {
  const large = /^answered more than 65536 bytes$/;

  /** Says `piece` for ever, as fast as it is taken. */
  function endless(socket: Socket, piece: string): void {
    const more = () => {
      while (!socket.destroyed && socket.write(piece));
      if (!socket.destroyed) socket.once("drain", more);
    };
    more();
  }

  const x = "x".repeat(8192);
  const floods: readonly (readonly [name: string, start: string, piece: string, reason: RegExp])[] =
    [
      ["by length", `${HEAD}content-length: 1073741824\r\n\r\n`, x, large],
      ["by chunks", `${HEAD}transfer-encoding: chunked\r\n\r\n`, `2000\r\n${x}\r\n`, large],
      ["until it closes", `${HEAD}\r\n`, x, large],
      ["with headers", HEAD, `x-flood: ${x}\r\n`, /cannot talk to it: HPE_HEADER_OVERFLOW/],
    ];
  for (const [name, start, piece, reason] of floods) {
    it(`is cut off: ${name}`, async () => {
      let sent = 0;
      await using target = await rawTarget((socket) => {
        socket.on("close", () => (sent = socket.bytesWritten));
        socket.write(start);
        endless(socket, piece);
      });
      failedWith(await kit().ask(`http://127.0.0.1:${target.port}/`), reason);
      await until(() => target.open.size === 0, "the connection is closed");
      assert(sent < 64 * 1024 * 1024, `sent ${sent} bytes`); // what kernels hold, no gigabyte
    });
  }

  it("is read to the last byte allowed and no further", async () => {
    let size = 65_536;
    await using target = await httpTarget((_request, response) => {
      response.end(COMMIT.padEnd(size));
    });
    const { ask } = kit();
    const url = `http://127.0.0.1:${target.port}/`;
    assert.deepEqual(await ask(url), { kind: "decision", decision: "commit" });
    size++;
    failedWith(await ask(url), large);
  });

  it("is not unpacked", async () => {
    const bomb = gzipSync(Buffer.alloc(16 * 1024 * 1024, " "));
    await using target = await httpTarget((_request, response) => {
      response.setHeader("content-encoding", "gzip").end(bomb);
    });
    const answer = await kit().ask(`http://127.0.0.1:${target.port}/`);
    failedWith(answer, /without a decision/);
  });
});

describe("a target that makes no sense", () => {
  const nonsense: readonly (readonly [name: string, says: string, reason: RegExp])[] = [
    ["hangs up", "", /cannot talk to it: ECONNRESET|closed without/],
    ["hangs up in the body", `${HEAD}content-length: 22\r\n\r\n${COMMIT}`, /ECONNRESET|closed/],
    ["speaks no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", /cannot talk to it: HPE_/],
    ["has two lengths", `${HEAD}content-length: 1\r\ncontent-length: 2\r\n\r\nab`, /HPE_/],
    ["switches", "HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", /^answered 101$/],
    ["fails", "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", /^answered 500$/],
    ["is no JSON", `${HEAD}content-length: 2\r\n\r\nok`, /without a decision/],
    ["says nothing", "HTTP/1.1 204 No Content\r\n\r\n", /^answered 204 without a decision/],
  ];
  for (const [name, says, reason] of nonsense) {
    it(`fails and no more: ${name}`, async () => {
      await using target = await rawTarget((socket) => {
        socket.once("data", () => socket.end(says));
      });
      failedWith(await kit().ask(`http://127.0.0.1:${target.port}/`), reason);
    });
  }

  it("may say interim things before the answer", async () => {
    const says = `HTTP/1.1 103 Early\r\nlink: <x>\r\n\r\n${HEAD}content-length: 21\r\n\r\n${COMMIT}`;
    await using target = await rawTarget((socket) => {
      socket.once("data", () => socket.end(says));
    });
    assert.equal((await kit().ask(`http://127.0.0.1:${target.port}/`)).kind, "decision");
  });

  it("fails when nobody listens", async () => {
    const target = await rawTarget(() => {});
    const { port } = target;
    await target[Symbol.asyncDispose]();
    failedWith(await kit().ask(`http://127.0.0.1:${port}/`), /cannot talk to it: ECONNREFUSED/);
  });
});

describe("a name server that makes no sense", () => {
  it("fails when it knows no address, or fails itself", async () => {
    const reason = /^the host of the URL cannot be resolved$/;
    failedWith(await kit({ resolve: async () => [] }).ask("https://hook.example/"), reason);
    const resolve = () => Promise.reject(new Error("ENOTFOUND"));
    failedWith(await kit({ resolve }).ask("https://hook.example/"), reason);
  });

  it("holds two lookups at most, one for each name, and only who asks for them", async () => {
    const asked: string[] = [];
    const never = new Promise<never>(() => {});
    const { ask, clock } = kit({
      resolve: (host) => {
        asked.push(host);
        return never;
      },
    });
    const hosts = ["a", "a", "b", "c", "b", "c"];
    const answers = hosts.map((host) => ask(`https://${host}.example/`));
    await using target = await httpTarget(answering("commit"));
    assert.equal((await ask(`http://127.0.0.1:${target.port}/`)).kind, "decision");
    assert.deepEqual(asked, ["a.example", "b.example"]);
    clock.advance(5000);
    for (const answer of answers) failedWith(await answer, /^no connection within 5000 ms$/);
  });
});

describe("many check-backs", () => {
  it("take turns at one host and do not hold up another", async () => {
    const waiting: (() => void)[] = [];
    let most = 0;
    await using slow = await httpTarget((_request, response) => {
      waiting.push(() => response.end(COMMIT));
      most = Math.max(most, slow.open.size);
    });
    await using quick = await httpTarget(answering("commit"));
    const { ask } = kit();
    let left = 3 * CALLS_PER_HOST_MAX;
    const answers = Array.from({ length: left }, () =>
      ask(`http://127.0.0.1:${slow.port}/`).finally(() => left--),
    );
    await until(() => waiting.length === CALLS_PER_HOST_MAX, "all turns are taken");
    assert.equal((await ask(`http://127.0.0.1:${quick.port}/`)).kind, "decision");
    await until(() => (waiting.shift()?.(), left === 0), "all are answered");
    for (const answer of answers) assert.equal((await answer).kind, "decision");
    assert.equal(slow.connections, 3 * CALLS_PER_HOST_MAX);
    assert(most <= CALLS_PER_HOST_MAX + 1, `${most} at once`); // one may be closing
  });

  it("are bounded", async () => {
    const { ask, clock } = kit({ resolve: () => new Promise<never>(() => {}) });
    const under = Array.from({ length: CALLS_MAX }, (_one, n) =>
      ask(`https://h${n % 40}.example/`),
    );
    failedWith(await ask("https://hook.example/"), /^too many check-backs at once$/);
    clock.advance(5000);
    for (const answer of under) failedWith(await answer, /^no connection/);
    const next = ask("https://hook.example/");
    clock.advance(5000);
    failedWith(await next, /^no connection/);
  });
});
