/**
 * Who is let in: those who know the secret and nobody else, in both directions,
 * within bounded bytes and time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { hmac } from "../../storage/base/hmac_node.ts";
import { ByteWriter } from "../../src/rpc/byte_writer.ts";
import { decodeWhole, FRAME, type Frame, type FrameKind, writeFrame } from "../../src/rpc/frame.ts";
import {
  ClientHandshake,
  type Credentials,
  type HandshakeStep,
  type Identity,
  ServerHandshake,
} from "../../src/rpc/handshake.ts";
import { Pipe } from "../fakes/rpc_pipe.ts";
import { fails, turn } from "../suites/broker_api_kit.ts";
import { ECHO, SECRET, World } from "./kit.ts";

const OTHER_SECRET = SECRET.map((byte) => byte ^ 1);
const CLIENT = { cluster: "c", node: "gateway-1", secret: SECRET };
const SERVER = { cluster: "c", node: "broker-1", secret: SECRET };

let filler = 0;
const ports = {
  hmac,
  entropy: (size: number) => new Uint8Array(size).fill(++filler),
};

interface Case {
  readonly client?: Partial<Identity & Credentials>;
  readonly server?: Partial<Identity & Credentials>;
  readonly expects?: string;
  readonly tls?: boolean;
}

interface Sent {
  readonly kind: FrameKind;
  readonly payload: Uint8Array;
}

function frame({ kind, payload }: Sent): Frame {
  const writer = new ByteWriter();
  writeFrame(writer, { kind }, { crc32, write: (to) => to.raw(payload) });
  return decodeWhole(writer.take(), crc32);
}

/** Plays it to the end, with whatever is done to the frames on their way. */
function shake(
  { client = {}, server = {}, expects, tls = false }: Case,
  onTheWay: (one: Sent) => Sent = (one) => one,
): string {
  const ends = {
    server: new ServerHandshake({ ...SERVER, ...server }, { authenticated: tls }, ports),
    client: new ClientHandshake(
      { ...CLIENT, ...client },
      { node: expects, authenticated: tls },
      ports,
    ),
  };
  let to: "server" | "client" = "server";
  let step: HandshakeStep = ends.client.begin();
  let opened = "";
  for (;;) {
    const sent: HandshakeStep | undefined = step.kind === "open" ? step.last : step;
    if (step.kind === "open") {
      const who = to === "server" ? "client" : "server";
      opened += `${who} knows ${step.peer}, version ${step.version}; `;
    }
    if (!sent) return opened;
    if (sent.kind !== "send")
      return `${opened}${to === "server" ? "client" : "server"}: ${step.kind === "refuse" ? step.reason : step.kind}`;
    step = ends[to].step(frame(onTheWay({ kind: sent.frame, payload: sent.payload })));
    to = to === "server" ? "client" : "server";
  }
}

const MET = "server knows gateway-1, version 1; client knows broker-1, version 1; ";

describe("a handshake", () => {
  const without = { secret: undefined };
  const cases: [name: string, how: Case, outcome: string][] = [
    ["with one secret", {}, MET],
    [
      "with another secret at the client",
      { client: { secret: OTHER_SECRET } },
      "server: unauthorized",
    ],
    [
      "with another secret at the server",
      { server: { secret: OTHER_SECRET } },
      "server: unauthorized",
    ],
    ["with no secret at the client", { client: without }, "client: unauthorized"],
    [
      "with no secret at the client, on TLS",
      { client: without, tls: true },
      "client: unauthorized",
    ],
    [
      "with no secret at the server, on TLS",
      { server: without, tls: true },
      "client: unauthorized",
    ],
    ["with no secret, on TLS", { client: without, server: without, tls: true }, MET],
    ["with one secret, on TLS", { tls: true }, MET],
    ["of another cluster", { client: { cluster: "d" } }, "server: cluster"],
    ["with the node that is expected", { expects: "broker-1" }, MET],
    ["with another node than is expected", { expects: "broker-2" }, "client: node"],
    [
      "of versions that overlap takes the greatest of both",
      { client: { versions: { min: 1, max: 3 } }, server: { versions: { min: 2, max: 9 } } },
      MET.replaceAll("version 1", "version 3"),
    ],
    [
      "with a server that is too old",
      { client: { versions: { min: 2, max: 3 } } },
      "server: version",
    ],
    [
      "with a server that is too new",
      { server: { versions: { min: 2, max: 3 } } },
      "server: version",
    ],
  ];
  for (const [name, how, outcome] of cases) {
    it(name, () => assert.equal(shake(how), outcome));
  }

  it("without secret or TLS is refused by the client, and not to be had from a server", () => {
    assert.throws(() => shake({ server: { secret: undefined } }), /proven by a secret/);
    assert.throws(() => shake({ client: { secret: SECRET.subarray(0, 15) } }), /at least 16 bytes/);
  });

  it("never carries the secret", () => {
    const sent: Buffer[] = [];
    shake({}, (one) => {
      sent.push(Buffer.from(one.payload));
      return one;
    });
    assert.equal(sent.length, 4);
    assert(!Buffer.concat(sent).includes(Buffer.from(SECRET.subarray(0, 8))));
  });

  it("fails whichever bit of it is changed on its way", () => {
    for (const kind of [FRAME.hello, FRAME.challenge, FRAME.proof, FRAME.welcome]) {
      for (let at = 0; ; at++) {
        let size = 0;
        const change = (one: Sent): Sent => {
          if (one.kind !== kind) return one;
          size = one.payload.length;
          const payload = one.payload.slice();
          payload[at] = (payload[at] as number) ^ 1;
          return { ...one, payload };
        };
        let outcome = "";
        try {
          outcome = shake({}, change);
        } catch (error) {
          outcome = String(error);
        }
        if (at >= size) break;
        assert(!outcome.includes("client knows"), `${kind} at ${at}: ${outcome}`);
      }
    }
  });

  it("cannot be done with what was heard of another one", () => {
    const heard = new Map<FrameKind, Uint8Array>();
    shake({}, (one) => {
      heard.set(one.kind, one.payload);
      return one;
    });
    const replayed = (one: Sent) =>
      one.kind === FRAME.proof ? { ...one, payload: heard.get(FRAME.proof) as Uint8Array } : one;
    assert.equal(shake({}, replayed), "server: unauthorized");
  });

  it("cannot be done by giving a client its own proof back", () => {
    let proof = new Uint8Array(0);
    const reflected = (one: Sent): Sent => {
      if (one.kind === FRAME.proof) proof = Uint8Array.from(one.payload);
      return one.kind === FRAME.welcome ? { ...one, payload: proof } : one;
    };
    assert.doesNotMatch(shake({}, reflected), /client knows/);
  });

  it("says nothing of the server's proof before the client has given its own", () => {
    const kinds: FrameKind[] = [];
    const outcome = shake({ client: { secret: OTHER_SECRET } }, (one) => {
      kinds.push(one.kind);
      return one;
    });
    assert.equal(outcome, "server: unauthorized");
    assert.deepEqual(kinds, [FRAME.hello, FRAME.challenge, FRAME.proof]);
  });
});

/** A stranger's end of a connection to a server. */
function stranger(world: World) {
  const pipe = new Pipe();
  const got: Uint8Array[] = [];
  const told: string[] = [];
  pipe.client.events = {
    onBytes: (chunk) => void got.push(chunk),
    onDrained() {},
    onClosed: (reason) => void told.push(reason),
  };
  pipe.server.events = world.server.accept(pipe.server, { authenticated: false, from: "stranger" });
  return { pipe, told, kinds: () => got.map((chunk) => decodeWhole(chunk, crc32).kind) };
}

function bytesOf(kind: FrameKind, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const writer = new ByteWriter();
  writeFrame(
    writer,
    { kind, methodId: ECHO.id, callId: 1 },
    { crc32, write: (to) => to.raw(payload) },
  );
  return writer.take();
}

describe("before a handshake", () => {
  let called = 0;
  const serving = (options: ConstructorParameters<typeof World>[0] = {}) => {
    const world = new World(options);
    called = 0;
    world.services.call(ECHO, async (request) => {
      called++;
      return request;
    });
    return world;
  };

  const openings: [name: string, bytes: Uint8Array][] = [
    ["a request", bytesOf(FRAME.request, new TextEncoder().encode("{}"))],
    ["a proof", bytesOf(FRAME.proof, new Uint8Array(32))],
    ["a ping", bytesOf(FRAME.ping)],
    ["a hello of something else", bytesOf(FRAME.hello, new Uint8Array(60))],
    ["a hello of nothing", bytesOf(FRAME.hello)],
    ["HTTP", new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["a frame of 2 GiB", Uint8Array.of(0x80, 0, 0, 0)],
    ["the start of a frame of 2 KiB", bytesOf(FRAME.hello, new Uint8Array(2048)).subarray(0, 50)],
  ];
  for (const [name, bytes] of openings) {
    it(`${name} ends the connection`, async () => {
      const world = serving();
      const { pipe, told, kinds } = stranger(world);
      pipe.client.write(bytes);
      await turn();
      assert.equal(told.length, 1);
      assert.deepEqual(kinds(), []);
      assert.equal(world.server.connectionCount, 0);
      assert.equal(called, 0);
      assert.match(world.logged.join(), /A stranger was turned away/);
    });
  }

  it("a request that follows a hello is not looked at", async () => {
    const world = serving();
    const { pipe, told, kinds } = stranger(world);
    const { payload } = new ClientHandshake(CLIENT, { authenticated: false }, ports).begin();
    pipe.client.write(bytesOf(FRAME.hello, payload));
    pipe.client.write(bytesOf(FRAME.request, new TextEncoder().encode("{}")));
    await turn();
    assert.equal(told.length, 1);
    assert.deepEqual(
      kinds(),
      [FRAME.challenge].filter(() => kinds().length > 0),
    );
    assert.equal(called, 0);
  });

  it("a stranger has five seconds", async () => {
    const world = serving();
    const { told } = stranger(world);
    world.clock.advance(4999);
    await turn();
    assert.deepEqual(told, []);
    world.clock.advance(1);
    await turn();
    assert.equal(told.length, 1);
    assert.equal(world.server.connectionCount, 0);
  });

  it("there is a bounded number of strangers", async () => {
    const world = serving({ server: { strangersMax: 3 } });
    const strangers = Array.from({ length: 4 }, () => stranger(world));
    await turn();
    assert.deepEqual(
      strangers.map(({ told }) => told.length),
      [0, 0, 0, 1],
    );
    assert.deepEqual(strangers[3]?.kinds(), [FRAME.refusal]);
    await fails("unavailable", world.peer.call(ECHO, { text: "one too many" }));
    strangers[0]?.pipe.break();
    await turn();
    world.clock.advance(1000);
    assert.deepEqual(await world.peer.call(ECHO, { text: "now" }), { text: "now" });
    stranger(world);
    await turn();
    assert.equal(world.server.connectionCount, 4, "who is known is no stranger");
  });

  it("there is a bounded number of connections", async () => {
    const world = serving({ server: { connectionsMax: 2 } });
    await world.peer.call(ECHO, { text: "one" });
    assert.deepEqual(
      [stranger(world), stranger(world)].map(({ told }) => told.length),
      [0, 0],
    );
    await turn();
    assert.equal(world.server.connectionCount, 2);
  });

  it("a client with another secret is told that it is not wanted", async () => {
    const world = serving({ peer: { self: { ...CLIENT, secret: OTHER_SECRET } } });
    const error = await fails("unavailable", world.peer.call(ECHO, { text: "let me in" }));
    assert.match(error.message, /unauthorized/);
    assert.equal(called, 0);
  });
});
