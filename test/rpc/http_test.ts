/**
 * The same frames as the bodies of HTTP requests: proven both ways, each counted
 * once, and nothing read of a stranger.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_web.ts";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { Prng } from "../../storage/base/prng.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { HttpCaller, HttpRpcServer, Services } from "../../src/rpc/mod.ts";
import { SIGNATURE_HEADER } from "../../src/rpc/http_signature.ts";
import { ByteWriter } from "../../src/rpc/byte_writer.ts";
import { FRAME, writeFrame } from "../../src/rpc/frame.ts";
import { NonceBook, WINDOW_MS } from "../../src/rpc/nonce_book.ts";
import { fails } from "../suites/broker_api_kit.ts";
import { COUNT, ECHO, READ, SECRET } from "./kit.ts";

const URL_OF_SERVER = "http://broker-1.example/rpc";

type Change = (request: Request) => Request | Promise<Request>;

/** A caller and a server with nothing but functions between them. */
class Exchange {
  readonly clock = new ManualClock();
  readonly services = new Services();
  readonly server: HttpRpcServer;
  readonly caller: HttpCaller;
  /** What the server answered, and what was asked. */
  readonly statuses: number[] = [];
  last: Request | undefined;
  /** What is done to a request on its way, and to an answer. */
  change: Change = (request) => request;
  changeAnswer: (response: Response) => Response | Promise<Response> = (response) => response;
  readonly logged: string[] = [];

  constructor({ secret = SECRET, cluster = "c" } = {}) {
    const { clock, services } = this;
    const entropy = (size: number) => crypto.getRandomValues(new Uint8Array(size));
    this.server = new HttpRpcServer(
      {
        clock,
        crc32,
        log: (_, message, fields) => this.logged.push(message + JSON.stringify(fields)),
      },
      { cluster: "c", secret: SECRET, services },
    );
    this.caller = new HttpCaller(
      { clock, crc32, entropy, fetch: (request) => this.#carry(request) },
      { url: URL_OF_SERVER, cluster, node: "edge 1/ä", secret },
    );
    services.call(ECHO, async (one) => one);
  }

  async #carry(request: Request): Promise<Response> {
    this.last = request.clone();
    const { signal } = request;
    const left = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () =>
        reject(new Error("aborted", { cause: signal.reason })),
      );
    });
    const answer = async () => this.server.fetch(await this.change(request));
    const response = await Promise.race([answer(), left]); // as fetch does
    this.statuses.push(response.status);
    return this.changeAnswer(response);
  }
}

describe("a call by HTTP", () => {
  it("is answered", async () => {
    const { caller, statuses } = new Exchange();
    for (const text of ["", "a", "ü".repeat(100_000)]) {
      assert.equal((await caller.call(ECHO, { text })).text, text);
    }
    assert.deepEqual(statuses, [200, 200, 200]);
  });

  it("tells its handler who asks", async () => {
    const { caller, services } = new Exchange();
    services.call(READ, async (_, { peer }) => ({ text: peer }));
    assert.equal((await caller.call(READ, { text: "" })).text, "edge 1/ä");
  });

  it("fails as its method does, and says nothing of other failures", async () => {
    const { caller, services, logged } = new Exchange();
    services.call(READ, async ({ text }) => {
      if (text === "?") throw new RangeError("secret");
      throw new TidegateError("key-order", "Cannot do it", { queues: 4 });
    });
    const error = await fails("key-order", caller.call(READ, { text: "" }));
    assert.deepEqual([error.message, error.details], ["Cannot do it", { queues: 4 }]);
    const other = await fails("internal", caller.call(READ, { text: "?" }));
    assert.doesNotMatch(other.message, /secret/);
    assert.match(logged.join(), /secret/);
  });

  it("of a method that is not there, or is a stream, is not-implemented", async () => {
    const { caller, services } = new Exchange();
    await fails("not-implemented", caller.call(READ, { text: "" }));
    services.stream(COUNT, async () => {});
    await fails("not-implemented", caller.call({ ...READ, id: COUNT.id }, { text: "" }));
  });

  it("whose request cannot be read is invalid", async () => {
    const { caller } = new Exchange();
    const request = { ...ECHO.request, write: (to: { u8(byte: number): void }) => to.u8(1) };
    await fails("invalid-request", caller.call({ ...ECHO, request }, { text: "" }));
  });

  it("given up, or too late, aborts the handler's signal", async () => {
    for (const how of ["given up", "too late"]) {
      const { caller, services, clock } = new Exchange();
      let began = () => {};
      const running = new Promise<void>((resolve) => {
        began = resolve;
      });
      const aborted = new Promise<string>((resolve) => {
        services.call(READ, async (_, { signal }) => {
          signal.addEventListener("abort", () => resolve("aborted"));
          began();
          return new Promise(() => {});
        });
      });
      const abort = new AbortController();
      const call = caller.call(READ, { text: "" }, { signal: abort.signal, timeoutMs: 500 });
      const failed = fails("unavailable", call);
      await running;
      if (how === "given up") abort.abort();
      else clock.advance(500);
      assert.equal(await aborted, "aborted");
      await failed;
    }
  });
});

describe("a request by HTTP", () => {
  const writer = new ByteWriter();
  const head = { kind: FRAME.request, methodId: READ.id, callId: 1, value: 30_000 };
  writeFrame(writer, head, { crc32, write: (to) => READ.request.write(to, { text: "xyz" }) });
  const other = writer.take(); // of the size of the one that is sent
  const refused: [name: string, change: Change, status: number][] = [
    ["without a signature", (request) => resigned(request, undefined), 401],
    ["with a signature of nothing", (request) => resigned(request, "1 x"), 401],
    ["that is no POST", () => new Request(URL_OF_SERVER), 405],
    ["whose body is another", async (request) => rebodied(request, (body) => flip(body, 25)), 400],
    ["whose body is another whole frame", async (request) => rebodied(request, () => other), 400],
    ["whose body is cut", async (request) => rebodied(request, (body) => body.subarray(1)), 400],
    [
      "whose body is longer",
      async (request) => rebodied(request, (body) => Buffer.concat([body, body])),
      400,
    ],
  ];
  for (const [name, change, status] of refused) {
    it(`${name} is refused, and runs nothing`, async () => {
      const exchange = new Exchange();
      let runs = 0;
      exchange.services.call(READ, async (one) => {
        runs++;
        return one;
      });
      exchange.change = change;
      await fails("unavailable", exchange.caller.call(READ, { text: "abc" }));
      assert.deepEqual([runs, exchange.statuses], [0, [status]]);
    });
  }

  it("any field of whose signature is changed is refused", async () => {
    const exchange = new Exchange();
    let header = "";
    exchange.change = (request) => {
      header = request.headers.get(SIGNATURE_HEADER) ?? "";
      return request;
    };
    await exchange.caller.call(ECHO, { text: "abc" });
    for (let at = 0; at < header.length; at++) {
      exchange.change = (request) =>
        resigned(
          request,
          (own) => own.slice(0, at) + (own[at] === "1" ? "2" : "1") + own.slice(at + 1),
        );
      exchange.statuses.length = 0;
      await fails("outcome-unknown", exchange.caller.call(ECHO, { text: "abc" }));
      assert.deepEqual(exchange.statuses, [401], `changed at ${at} of ${header}`);
    }
  });

  it("of another secret or another cluster is refused", async () => {
    for (const options of [{ secret: SECRET.map((byte) => byte ^ 1) }, { cluster: "d" }]) {
      const exchange = new Exchange(options);
      await fails("outcome-unknown", exchange.caller.call(ECHO, { text: "" }));
      assert.deepEqual(exchange.statuses, [401]);
    }
  });

  it("counts once", async () => {
    const exchange = new Exchange();
    await exchange.caller.call(ECHO, { text: "" });
    const again = await exchange.server.fetch(exchange.last as Request);
    assert.equal(again.status, 401);
  });

  it("of a stranger is not read: not a byte is asked of its body", async () => {
    const exchange = new Exchange();
    let pulled = 0;
    const body = new ReadableStream(
      {
        pull(it) {
          pulled++;
          it.enqueue(new Uint8Array(1000));
        },
      },
      { highWaterMark: 0 },
    );
    const init = { method: "POST", body, duplex: "half" } as RequestInit;
    assert.equal((await exchange.server.fetch(new Request(URL_OF_SERVER, init))).status, 401);
    assert.equal(pulled, 0);
  });

  it("whose body does not come in time is given up", async () => {
    const exchange = new Exchange();
    let asked = () => {};
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    exchange.change = ({ headers }) => {
      const pull = () => {
        asked();
        return new Promise<never>(() => {});
      };
      const body = new ReadableStream({ pull }, { highWaterMark: 0 });
      const init = { method: "POST", headers, body, duplex: "half" };
      return new Request(URL_OF_SERVER, init);
    };
    const failed = fails("outcome-unknown", exchange.caller.call(ECHO, { text: "" }));
    await isAsked;
    exchange.clock.advance(10_000);
    await failed;
    assert.deepEqual(exchange.statuses, [400]);
  });

  it("never carries the secret", async () => {
    const exchange = new Exchange();
    await exchange.caller.call(ECHO, { text: "" });
    const { headers } = exchange.last as Request;
    const hex = Buffer.from(SECRET.subarray(0, 8)).toString("hex");
    assert.doesNotMatch(JSON.stringify([...headers]), new RegExp(hex));
  });
});

describe("an answer by HTTP", () => {
  const forged: [name: string, change: Exchange["changeAnswer"]][] = [
    ["without a proof", async (answer) => new Response(await answer.arrayBuffer())],
    [
      "of other bytes",
      async ({ headers, body }) => {
        const bytes = new Uint8Array(await new Response(body).arrayBuffer());
        return new Response(flip(bytes, 23), { headers });
      },
    ],
    ["of a proxy", () => new Response("Bad gateway", { status: 502 })],
    ["that breaks", () => Promise.reject(new Error("reset"))],
  ];
  for (const [name, change] of forged) {
    it(`${name} is none: what became of the call is unknown`, async () => {
      const exchange = new Exchange();
      exchange.services.call(READ, async (one) => one);
      exchange.changeAnswer = change;
      await fails("outcome-unknown", exchange.caller.call(ECHO, { text: "abc" }));
      await fails("unavailable", exchange.caller.call(READ, { text: "abc" }));
    });
  }

  it("to another request is none", async () => {
    const exchange = new Exchange();
    let first: Response | undefined;
    exchange.changeAnswer = (answer) => {
      first ??= answer.clone();
      return answer;
    };
    await exchange.caller.call(ECHO, { text: "one" });
    exchange.changeAnswer = () => first as Response;
    await fails("outcome-unknown", exchange.caller.call(ECHO, { text: "two" }));
  });
});

describe("NonceBook", () => {
  const at = (clock: ManualClock, ms: number, nonce = "n") => ({ time: clock.now() + ms, nonce });
  const open = () => {
    const clock = new ManualClock();
    const book = new NonceBook(clock);
    clock.advance(10 * WINDOW_MS);
    return { clock, book };
  };

  const cases: [name: string, ms: number, outcome: string][] = [
    ["now", 0, "ok"],
    ["at the end of its window", -WINDOW_MS, "ok"],
    ["from the far end of the window", WINDOW_MS, "ok"],
    ["too old", -WINDOW_MS - 1, "stale"],
    ["from the future", WINDOW_MS + 1, "stale"],
  ];
  for (const [name, ms, outcome] of cases) {
    it(`judges a request ${name} ${outcome}`, () => {
      const { clock, book } = open();
      assert.equal(book.judge(at(clock, ms)), outcome);
    });
  }

  it("takes none made before it was opened", () => {
    const clock = new ManualClock();
    const book = new NonceBook(clock);
    assert.equal(book.judge(at(clock, -1)), "stale");
    assert.equal(book.judge(at(clock, 0)), "ok");
  });

  it("takes each once, for as long as it could come again", () => {
    const { clock, book } = open();
    const prng = new Prng(1);
    for (let round = 0; round < 50; round++) {
      book.judge(at(clock, 0, `before ${round}`)); // whenever the halves change turns
      clock.advance(prng.below(2 * WINDOW_MS));
      const request = at(clock, WINDOW_MS, `n${round}`);
      assert.equal(book.judge(request), "ok");
      for (let left = 2 * WINDOW_MS; left >= 0; left -= 7000) {
        assert.equal(book.judge(request), "stale", `${left} ms before its end`);
        clock.advance(7000);
      }
    }
  });
});

function resigned(
  request: Request,
  header: string | undefined | ((own: string) => string),
): Request {
  const headers = new Headers(request.headers);
  const own = headers.get(SIGNATURE_HEADER) ?? "";
  headers.delete(SIGNATURE_HEADER);
  const value = typeof header === "function" ? header(own) : header;
  if (value !== undefined) headers.set(SIGNATURE_HEADER, value);
  return new Request(request, { headers });
}

async function rebodied(
  request: Request,
  change: (body: Uint8Array) => Uint8Array,
): Promise<Request> {
  const body = change(new Uint8Array(await request.arrayBuffer())) as Uint8Array<ArrayBuffer>;
  return new Request(URL_OF_SERVER, { method: "POST", headers: request.headers, body });
}

function flip(bytes: Uint8Array, at: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  copy[at] = (copy[at] as number) ^ 1;
  return copy;
}
