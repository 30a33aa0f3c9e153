/**
 * Real sockets on loopback: who gets in, plain and in TLS, what a stranger costs,
 * and a connection that is closed, reset or gone.
 *
 * @module
 */

import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { after, describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { systemClock } from "../../storage/base/clock_node.ts";
import { hmac } from "../../storage/base/hmac_node.ts";
import { dialer } from "../../src/rpc/dial_node.ts";
import { listen } from "../../src/rpc/listen_node.ts";
import { type Limits, Peer, rawBytes, RpcServer, Services } from "../../src/rpc/mod.ts";
import type { TlsFiles } from "../../src/rpc/socket_node.ts";
import { BROKER_TLS, GATEWAY_TLS, STRANGER_TLS } from "../fakes/rpc_certificates.ts";
import { fails } from "../suites/broker_api_kit.ts";
import { COUNT, ECHO, READ, SECRET } from "./kit.ts";

const HOST = "127.0.0.1";
const BYTES = {
  kind: "call",
  id: 60_010,
  name: "test.bytes",
  about: "What it is given",
  effect: "once",
  request: rawBytes,
  response: rawBytes,
} as const;

const entropy = (size: number) => crypto.getRandomValues(new Uint8Array(size));
let skippedMs = 0;
const clock = { ...systemClock, elapsed: () => systemClock.elapsed() + skippedMs };
const ports = { clock, crc32, hmac, entropy };
const closing: (() => void)[] = [];

/** Names of the broker and the gateway; of one of them alone. */
const NAMES = ["broker-1.example", "Gateway-1.Example"];
const named = (tls: TlsFiles, only = 0): TlsFiles => {
  return { ...tls, names: only === 0 ? NAMES : NAMES.slice(only - 1, only) };
};

interface Side {
  readonly tls?: TlsFiles | undefined;
  readonly secret?: Uint8Array | undefined;
}

async function serve({ tls, secret }: Side = {}, limits: Partial<Limits> = {}) {
  const logged: string[] = [];
  const held: (() => void)[] = [];
  const services = new Services()
    .call(ECHO, async (one) => one)
    .call(READ, async (one) => {
      await new Promise<void>((resolve) => held.push(resolve));
      return one;
    })
    .call(BYTES, async (bytes) => bytes)
    .stream(COUNT, async ({ to, bytes }, sink) => {
      for (let n = 0; n < to; n++) await sink.send({ n, text: "x".repeat(bytes) });
    });
  const self = { cluster: "c", node: "broker-1", secret };
  const log = (_: string, message: string, fields?: object) =>
    void logged.push(`${message} ${JSON.stringify(fields)}`);
  const server = new RpcServer({ ...ports, log }, { self, services, limits });
  const listener = await listen(server, { host: HOST, port: 0, tls });
  closing.push(() => {
    listener.close();
    server.close();
  });
  return { server, listener, port: listener.port, logged, held };
}

function join(port: number, { tls, secret }: Side = {}, host = HOST): Peer {
  const peer = new Peer(
    { ...ports, dial: dialer({ host, port, tls }) },
    {
      self: { cluster: "c", node: "gateway-1", secret },
      expects: { node: "broker-1", authenticated: tls !== undefined },
    },
  );
  closing.push(() => peer.close());
  return peer;
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 10_000;
  while (!holds()) {
    assert(performance.now() < end, `in time: ${what}`);
    await new Promise<void>((resolve) => void systemClock.after(5, resolve));
  }
}

const closed = (socket: Socket) =>
  new Promise<void>((resolve) => {
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    socket.resume();
  });

describe("a connection by socket", { timeout: 60_000 }, () => {
  after(() => {
    for (const close of closing) close();
  });

  const secret = SECRET;
  const met: [name: string, server: Side, client: Side][] = [
    ["a secret", { secret }, { secret }],
    ["certificates", { tls: BROKER_TLS }, { tls: GATEWAY_TLS }],
    ["certificates that have the names", { tls: named(BROKER_TLS) }, { tls: named(GATEWAY_TLS) }],
    ["both", { tls: BROKER_TLS, secret }, { tls: GATEWAY_TLS, secret }],
  ];
  for (const [name, serverSide, clientSide] of met) {
    it(`is made with ${name}, and carries calls`, async () => {
      const { port } = await serve(serverSide);
      const peer = join(port, clientSide);
      const texts = Array.from({ length: 200 }, (_, i) => `call ${i}`);
      const answers = await Promise.all(texts.map((text) => peer.call(ECHO, { text })));
      assert.deepEqual(
        answers.map(({ text }) => text),
        texts,
      );
      const large = entropy(65_536);
      const many = new Uint8Array(3 * 1024 * 1024);
      for (let at = 0; at < many.length; at += large.length) many.set(large, at);
      assert.deepEqual(await peer.call(BYTES, many), many);
      let sum = 0;
      const stream = peer.subscribe(COUNT, { to: 500, bytes: 1000 }, { creditBytes: 10_000 });
      for await (const { n } of stream) sum += n;
      assert.equal(sum, (500 * 499) / 2);
    });
  }

  const refused: [name: string, server: Side, client: Side][] = [
    ["with another secret", { secret }, { secret: secret.map((byte) => byte + 1) }],
    ["without a certificate", { tls: BROKER_TLS, secret }, { secret }],
    ["with a certificate of another authority", { tls: BROKER_TLS }, { tls: STRANGER_TLS }],
    ["with a certificate and no secret", { tls: BROKER_TLS, secret }, { tls: GATEWAY_TLS }],
    [
      "with a certificate of none of the names",
      { tls: named(BROKER_TLS, 1) },
      { tls: GATEWAY_TLS },
    ],
    ["to a server of none of the names", { tls: BROKER_TLS }, { tls: named(GATEWAY_TLS, 2) }],
    ["to a server of another authority", { tls: STRANGER_TLS }, { tls: GATEWAY_TLS }],
    ["to a server with the certificate of another", { tls: GATEWAY_TLS }, { tls: GATEWAY_TLS }],
    ["in TLS to one that is plain", { secret }, { tls: GATEWAY_TLS, secret }],
  ];
  for (const [name, serverSide, clientSide] of refused) {
    it(`is not made ${name}`, async () => {
      const { server, port } = await serve(serverSide);
      await fails("unavailable", join(port, clientSide).call(ECHO, { text: "let me in" }));
      await until(() => server.connectionCount === 0, "the server has forgotten it");
    });
  }

  const told: [name: string, server: Side, client: Side, why: RegExp][] = [
    ["of another authority", { tls: BROKER_TLS }, { tls: STRANGER_TLS }, /certificate|VERIFY/],
    [
      "of none of the names",
      { tls: named(BROKER_TLS, 1) },
      { tls: GATEWAY_TLS },
      /none of the names of this cluster: it has DNS:gateway-1\.example/,
    ],
  ];
  for (const [name, serverSide, clientSide, why] of told) {
    it(`with a certificate ${name} is told of on both ends`, async () => {
      const { port, logged } = await serve(serverSide);
      const call = join(port, clientSide).call(ECHO, { text: "" });
      const error = await fails("unavailable", call);
      assert.match(error.message, /does it accept the certificate|ECONNRESET|EPIPE/);
      await until(() => logged.length > 0, "the server says so");
      assert.match(logged.join("\n"), /A stranger was turned away/);
      assert.match(logged.join("\n"), why);
    });
  }

  it("in TLS without a client's certificate is ended before the protocol begins", async () => {
    const { server, port, logged } = await serve({ tls: BROKER_TLS });
    const socket = connectTls({ host: HOST, port, ca: BROKER_TLS.authority });
    await closed(socket);
    assert.equal(server.connectionCount, 0);
    await until(() => /TLS: \w*CERTIFICATE/.test(logged.join()), "the server says why");
  });

  it("to nobody is unavailable", async () => {
    const { listener, port } = await serve({ secret });
    listener.close();
    const error = await fails("unavailable", join(port, { secret }).call(ECHO, { text: "" }));
    assert.match(error.message, /ECONNREFUSED/);
  });

  it("to something that speaks otherwise is unavailable", async () => {
    const other = createServer((socket) => {
      socket.on("error", () => {});
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    await new Promise<void>((resolve) => other.listen(0, HOST, resolve));
    const { port } = other.address() as { port: number };
    const error = await fails("unavailable", join(port, { secret }).call(ECHO, { text: "" }));
    assert.match(error.message, /not the protocol/);
    other.close();
  });

  it("to a server in TLS that asks for no certificate is made, for its own is proven", async () => {
    // The client cannot know what a server asks for: the server's secret or certificate counts.
    const { authority: ca, certificate: cert, key } = BROKER_TLS;
    const other = createTlsServer({ ca, cert, key, ALPNProtocols: ["tidegate-rpc"] }, (socket) => {
      socket.on("error", () => {});
      socket.end();
    });
    await new Promise<void>((resolve) => other.listen(0, HOST, resolve));
    const { port } = other.address() as { port: number };
    await fails("unavailable", join(port, { tls: GATEWAY_TLS }).call(ECHO, { text: "" }));
    other.close();
  });

  it("of a stranger who says nothing is closed in time, and others are served meanwhile", async () => {
    const { server, port, logged } = await serve({ secret }, { handshakeMs: 300 });
    const strangers = Array.from({ length: 20 }, () => connect({ host: HOST, port }));
    const gone = Promise.all(strangers.map(closed));
    const peer = join(port, { secret });
    assert.equal((await peer.call(ECHO, { text: "served" })).text, "served");
    await gone;
    assert.equal(logged.length, 20);
    await until(() => server.connectionCount === 1, "only the peer is left");
  });

  it("of a stranger who drips bytes is closed in time", async () => {
    const { port } = await serve({ secret }, { handshakeMs: 300 });
    const socket = connect({ host: HOST, port });
    const gone = closed(socket);
    let dripping = true;
    const drip = () => {
      if (!dripping) return;
      socket.write(Uint8Array.of(0));
      systemClock.after(20, drip);
    };
    drip();
    await gone;
    dripping = false;
  });

  it("of a stranger who floods is closed with the first frame, whatever it says", async () => {
    const { server, port } = await serve({ secret });
    const before = process.memoryUsage().rss;
    for (const head of [
      [0x7f, 0xff, 0xff, 0xff],
      [0, 0, 4, 1],
    ]) {
      const socket = connect({ host: HOST, port });
      const gone = closed(socket);
      const flood = new Uint8Array(1 << 20);
      flood.set(head);
      socket.write(flood);
      await gone;
    }
    await until(() => server.connectionCount === 0, "all are forgotten");
    assert(process.memoryUsage().rss - before < 64 << 20, "nothing was allocated by what it said");
  });

  it("that is reset under calls: those that may run twice are sent again, others are unknown", async () => {
    const { port, held, server } = await serve({ secret });
    const peer = join(port, { secret });
    await peer.call(ECHO, { text: "open" });
    const once = peer.call({ ...READ, effect: "once" }, { text: "once" });
    const twice = peer.call(READ, { text: "twice" });
    await until(() => held.length === 2, "both are under way");
    skippedMs += 1000; // it has lived
    server.end("as if the process had been killed");
    await fails("outcome-unknown", once);
    await until(() => held.length === 3, "one was sent again");
    held[2]?.();
    assert.equal((await twice).text, "twice");
  });

  it("drains: what is under way is answered, then it is closed", async () => {
    const { server, listener, port, held } = await serve({ secret });
    const peer = join(port, { secret });
    const call = peer.call(READ, { text: "under way" });
    await until(() => held.length === 1, "it is under way");
    listener.close();
    const drained = server.drain();
    held[0]?.();
    assert.equal((await call).text, "under way");
    await drained;
    await fails("unavailable", peer.call(ECHO, { text: "late" }));
  });
});
