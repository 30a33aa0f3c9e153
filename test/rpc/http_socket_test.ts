/**
 * Calls by HTTP through the server of the runtime at hand and its own `fetch`.
 *
 * @module
 */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import {
  type CallMethod,
  HttpCaller,
  HttpRpcServer,
  rawBytes,
  Services,
} from "../../src/rpc/mod.ts";
import type { HttpServer, Runtime } from "../../src/runtime/runtime.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { systemClock as clock } from "../../storage/base/clock_node.ts";
import { fails } from "../suites/broker_api_kit.ts";
import { ECHO, READ, SECRET } from "./kit.ts";

const BYTES: CallMethod<Uint8Array, Uint8Array> = {
  ...ECHO,
  id: 60_010,
  effect: "once",
  name: "test.bytes",
  request: rawBytes,
  response: rawBytes,
};

describe("a call by HTTP, through real servers", { timeout: 60_000 }, () => {
  const identity = { cluster: "c", secret: SECRET };
  const entropy = (size: number) => crypto.getRandomValues(new Uint8Array(size));
  let server: HttpServer;
  let rpc: HttpRpcServer;
  let caller: HttpCaller;
  let aborted: Promise<string>;
  let began: Promise<void>;

  before(async () => {
    const services = new Services()
      .call(ECHO, async (one) => one)
      .call(BYTES, async (bytes) => bytes);
    let begin = () => {};
    began = new Promise((resolve) => {
      begin = resolve;
    });
    aborted = new Promise((resolve) => {
      services.call(READ, async (one, { signal }) => {
        begin();
        await new Promise<void>((go) => signal.addEventListener("abort", () => go()));
        resolve("aborted");
        return one;
      });
    });
    rpc = new HttpRpcServer({ clock, crc32, log() {} }, { ...identity, services });
    const name = "Bun" in globalThis ? "bun" : "Deno" in globalThis ? "deno" : "node";
    const { runtime } = (await import(`../../src/runtime/${name}.ts`)) as { runtime: Runtime };
    const where = { hostname: "127.0.0.1", port: 0, exposed: false };
    server = await runtime.serve(where, (request) => rpc.fetch(request));
    const url = `http://127.0.0.1:${server.port}/rpc`;
    caller = new HttpCaller({ clock, crc32, entropy, fetch }, { ...identity, node: "edge", url });
  });

  after(() => {
    rpc.close();
    server.abort();
  });

  it("is answered, many at once", async () => {
    const texts = Array.from({ length: 50 }, (_, i) => `call ${i}`);
    const answers = await Promise.all(texts.map((text) => caller.call(ECHO, { text })));
    assert.deepEqual(
      answers.map(({ text }) => text),
      texts,
    );
  });

  it("carries megabytes, both ways", async () => {
    const bytes = new Uint8Array(9 * 1024 * 1024);
    for (let at = 0; at < bytes.length; at += 65_536) bytes.set(entropy(65_536), at);
    assert.deepEqual(await caller.call(BYTES, bytes), bytes);
  });

  it("given up ends the wait at the server", async () => {
    const abort = new AbortController();
    const call = caller.call(READ, { text: "" }, { signal: abort.signal });
    await began;
    abort.abort();
    await fails("unavailable", call);
    assert.equal(await aborted, "aborted");
  });

  it("of a stranger is refused", async () => {
    const url = `http://127.0.0.1:${server.port}/rpc`;
    const answer = await fetch(url, { method: "POST", body: new Uint8Array(100) });
    assert.equal(answer.status, 401);
    await answer.body?.cancel();
  });
});
