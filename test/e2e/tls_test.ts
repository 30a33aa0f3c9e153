/**
 * A node that serves over TLS: whom its clients see, before and after its
 * certificate is renewed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { connect, type TLSSocket } from "node:tls";
import {
  OTHER_CERTIFICATE,
  OTHER_KEY,
  TEST_AUTHORITY,
  TEST_CERTIFICATE,
  TEST_KEY,
} from "../fakes/test_certificate.ts";
import { request } from "./http.ts";
import {
  currentRuntime,
  type Server,
  spawnScript,
  until,
  withServerOver,
  withTempDir,
} from "./server.ts";

interface Identity {
  readonly ca: string;
  readonly servername: string;
}
const FIRST: Identity = { ca: TEST_AUTHORITY, servername: "hook.example" };
const OTHER: Identity = { ca: OTHER_CERTIFICATE, servername: "other.example" };

/** A connection to who can prove to be `identity`; rejects for anybody else. */
function trusting(port: number, { ca, servername }: Identity): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, ca, servername }, () => resolve(socket));
    socket.once("error", reject);
  });
}

/** One exchange; the answer ends where its length says. */
function exchange(socket: TLSSocket, head: string, body = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const take = (chunk: Uint8Array) => {
      text += Buffer.from(chunk).toString();
      const [, length] = /content-length: (\d+)/i.exec(text) ?? [];
      const end = text.indexOf("\r\n\r\n");
      if (end < 0 || length === undefined || text.length < end + 4 + Number(length)) return;
      socket.off("data", take);
      resolve(text);
    };
    socket.on("data", take);
    socket.once("close", () => reject(new Error(`the connection was closed after "${text}"`)));
    const size = body ? `Content-Length: ${body.length}\r\n` : "";
    socket.write(`${head} HTTP/1.1\r\nHost: hook.example\r\n${size}\r\n${body}`);
  });
}

async function ask(port: number, identity: Identity, head: string, body?: string): Promise<string> {
  const socket = await trusting(port, identity);
  try {
    return await exchange(socket, head, body);
  } finally {
    socket.destroy();
  }
}

function write(dir: string, { cert, key }: { cert: string; key: string }): string[] {
  const files = { cert: join(dir, "tls.crt"), key: join(dir, "tls.key") };
  writeFileSync(files.cert, cert);
  writeFileSync(files.key, key);
  return ["--tls-cert", files.cert, "--tls-key", files.key];
}

function serving(body: (server: Server, dir: string) => Promise<void>): Promise<void> {
  return withTempDir((dir) => {
    const args = write(dir, { cert: TEST_CERTIFICATE, key: TEST_KEY });
    return withServerOver({ dataDir: join(dir, "data"), args }, (server) => body(server, dir));
  });
}

const isNow = (port: number, identity: Identity) =>
  ask(port, identity, "GET /healthz").then(
    () => true,
    () => false,
  );

describe("a node with a certificate", () => {
  it("serves those who check it, and says https", { timeout: 60_000 }, () =>
    serving(async ({ port, origin }) => {
      assert.equal(origin, `https://127.0.0.1:${port}`);
      const published = await ask(port, FIRST, "POST /v1/topics/orders/messages", "hello");
      assert.match(published, /^HTTP\/1\.1 201 /);
      const read = await ask(port, FIRST, "GET /v1/topics/orders/messages?after=earliest");
      assert.match(read, /"dataBase64":|"text":"hello"/);
      await assert.rejects(trusting(port, OTHER));
      const plain = await request(port, { path: "/healthz", timeoutMs: 5000 }).catch(
        () => undefined,
      );
      assert.notEqual(plain?.status, 200, "nothing is served in the clear");
    }),
  );

  it("takes a new one at SIGHUP, and goes on with requests under way", { timeout: 60_000 }, () =>
    serving(async (server, dir) => {
      const { port, pid } = server;
      await ask(port, FIRST, "POST /v1/topics/orders/messages", "first");
      const before = await trusting(port, FIRST);
      const path = "/v1/topics/orders/messages?after=latest&wait=30";
      const waiting = exchange(before, `GET ${path}`);
      waiting.catch(() => {}); // told below
      const held = "tidegate_http_held_requests 1";
      const isHeld = async () => (await ask(port, FIRST, "GET /metrics")).includes(held);
      await until(isHeld, "a request waits");
      write(dir, { cert: OTHER_CERTIFICATE, key: OTHER_KEY });
      process.kill(pid, "SIGHUP");
      await until(() => isNow(port, OTHER), "the new certificate is shown");
      await assert.rejects(trusting(port, FIRST));
      const published = await ask(port, OTHER, "POST /v1/topics/orders/messages", "again");
      assert.match(published, /^HTTP\/1\.1 201 /);
      assert.match(await waiting, /^HTTP\/1\.1 200 [^]*"queueOffset"/);
      before.destroy();
      assert.deepEqual(await server.kill("SIGTERM"), { code: 0, signal: null });
    }),
  );

  it("notices by itself that the files changed", { timeout: 60_000 }, () =>
    serving(async ({ port }, dir) => {
      write(dir, { cert: OTHER_CERTIFICATE, key: OTHER_KEY });
      await until(() => isNow(port, OTHER), "the new certificate is shown", 20_000);
    }),
  );

  it("keeps the one it has when the new one is none", { timeout: 60_000 }, () =>
    serving(async (server, dir) => {
      const { port, pid } = server;
      write(dir, { cert: OTHER_CERTIFICATE, key: TEST_KEY });
      process.kill(pid, "SIGHUP");
      await until(() => /cannot be renewed/.test(server.output()), "it says so");
      assert(await isNow(port, FIRST));
      assert(!server.output().includes("PRIVATE KEY"));
    }),
  );

  it("does not start with one that is none", { timeout: 60_000 }, () =>
    withTempDir(async (dir) => {
      const args = ["serve", "--port", "0", "--data-dir", join(dir, "data")];
      const tls = write(dir, { cert: TEST_CERTIFICATE, key: OTHER_KEY });
      const { exited, output } = spawnScript(currentRuntime, "src/main.ts", {
        args: [...args, ...tls],
      });
      assert.equal((await exited).code, 78);
      assert.match(output(), /is not its key/);
    }),
  );
});
