/**
 * A peer that has proven itself and has gone mad: well-sealed nonsense in both
 * directions. A connection bears it or ends; a node does neither fail nor lie.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { Prng } from "../../storage/base/prng.ts";
import { ByteWriter } from "../../src/rpc/byte_writer.ts";
import { entriesOf, MESSAGES } from "../../src/rpc/broker_methods.ts";
import { FRAME, type FrameKind, writeFrame } from "../../src/rpc/frame.ts";
import { RemoteBroker, serveBroker } from "../../src/rpc/mod.ts";
import { message, TOPIC, turn } from "../suites/broker_api_kit.ts";
import { openTestBroker } from "../suites/open_broker.ts";
import { COUNT, ECHO, World } from "./kit.ts";

const FROM_CLIENT = [FRAME.request, FRAME.cancel, FRAME.credit, FRAME.ping, FRAME.pong];
const FROM_SERVER = [FRAME.response, FRAME.item, FRAME.ping, FRAME.pong, FRAME.goaway];
const METHODS = [
  ECHO.id,
  COUNT.id,
  ...entriesOf(MESSAGES).map(([, { method }]) => method.id),
  9999,
];

/** A frame whose crc is right, and nothing else need be. */
function nonsense(prng: Prng, plausible: readonly FrameKind[]): Uint8Array {
  const writer = new ByteWriter();
  const payload = Uint8Array.from({ length: prng.below(60) }, () =>
    prng.chance(60) ? prng.below(4) : prng.below(256),
  );
  const head = {
    kind: prng.chance(97) ? prng.pick(plausible) : (prng.below(256) as FrameKind),
    flags: prng.chance(97) ? prng.below(4) : prng.below(256),
    methodId: prng.pick(METHODS),
    callId: prng.below(6),
    value: prng.chance(80) ? prng.below(5000) : prng.word(),
  };
  writeFrame(writer, head, { crc32, write: (to) => to.raw(payload) });
  return writer.take();
}

async function open() {
  const world = new World();
  const broker = await openTestBroker({ clock: world.clock });
  serveBroker(world.services, broker);
  world.services.call(ECHO, async (one) => one);
  world.services.stream(COUNT, async ({ to }, sink) => {
    for (let n = 0; n < Math.min(to, 50); n++) await sink.send({ n, text: "" });
  });
  const api = new RemoteBroker(world.peer);
  await api.topics.put("orders", TOPIC);
  return { world, broker, api };
}

/** Whether it is answered as it should be; a failure is one of ours. */
async function isSound(call: Promise<{ readonly text: string }>, text: string): Promise<boolean> {
  try {
    const answer: { readonly text?: string } | undefined = await call;
    return answer?.text === text;
  } catch (error) {
    assert(error instanceof TidegateError, String(error));
    return false;
  }
}

describe("well-sealed nonsense", () => {
  it("from a client ends its connection or is borne, and others are served", async () => {
    let ended = 0;
    for (let seed = 0; seed < 150; seed++) {
      const prng = new Prng(seed);
      const { world, api } = await open();
      const pipe = world.pipe;
      const frames = 1 + prng.below(20);
      for (let n = 0; n < frames && !pipe.client.isClosed; n++) {
        pipe.client.write(nonsense(prng, FROM_CLIENT));
        if (prng.chance(30)) await turn();
        if (prng.chance(10)) world.clock.advance(prng.below(500));
      }
      await turn();
      if (pipe.client.isClosed) ended++;
      for (let n = 0; n < 8 && !world.peer.isOpen; n++) {
        world.clock.advance(1000);
        await turn();
      }
      const { queueOffset } = {
        queueOffset: 0,
        ...(await api.messages.publish("orders", message("m"))),
      };
      assert(queueOffset >= 0);
      assert(await isSound(world.peer.call(ECHO, { text: "served" }), "served"), `seed ${seed}`);
      const faults = world.logged.filter((line) =>
        /Assertion|RangeError|not a function/.test(line),
      );
      assert.deepEqual(faults, [], `seed ${seed}`);
      world.peer.close();
      await turn();
      assert.equal(world.server.callCount, 0);
    }
    assert(ended > 20 && ended < 150, `${ended} of 150 were ended`);
  });

  it("from a server ends the connection or is ignored, and every call comes to an end", async () => {
    let [sound, lost] = [0, 0];
    for (let seed = 0; seed < 150; seed++) {
      const prng = new Prng(seed);
      const { world } = await open();
      const calls: Promise<boolean>[] = [];
      for (let n = 0; n < 30; n++) {
        const text = `call ${n}`;
        calls.push(isSound(world.peer.call(ECHO, { text }), text));
        if (!world.pipe.server.isClosed) world.pipe.server.write(nonsense(prng, FROM_SERVER));
        if (prng.chance(50)) await turn();
        world.clock.advance(prng.below(500));
      }
      const answers = await Promise.all(calls);
      sound += answers.filter(Boolean).length;
      lost += answers.filter((one) => !one).length;
      world.peer.close();
    }
    assert(sound > 500 && lost > 100, `${sound} sound, ${lost} lost`);
  });
});
