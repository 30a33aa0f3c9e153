/**
 * When a campaign is over: whoever reads and consumes has had all that was promised.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crc32 } from "node:zlib";
import { Prng } from "../../storage/base/prng.ts";
import { call, client } from "../e2e/wire.ts";
import { withServer } from "../e2e/server.ts";
import { check } from "./checker.ts";
import { type Crowd, prepare, readBack, startClients } from "./clients.ts";
import { Recorder } from "./recorder.ts";
import { Target } from "./target.ts";

/** Readers, and one who consumes: what is published the test publishes. */
const CROWD: Crowd = {
  single: 0,
  batch: 0,
  repeaters: { key: 0, "batch key": 0, sequence: 0 },
  transactors: 0,
  delayers: 0,
  consumers: 1,
};

describe("the clients of a campaign", () => {
  it("have seen a delayed message whose publish arrived late, when they are finished", () =>
    withServer(async ({ port }) => {
      await prepare(port);
      const recorder = new Recorder();
      const target = new Target();
      target.up(port);
      const clients = startClients(target, { recorder, prng: new Prng(1), crowd: CROWD });
      const body = "late";
      const publish = recorder.attempt({ id: "late-0", checksum: crc32(body), keySeq: 0 });
      publish.dueAtMs = Date.now(); // as its publisher reckons, from before it was on its way for so long
      const headers = { "Content-Type": "text/plain", "Message-Id": publish.id, Delay: "1" };
      const path = "/v1/topics/orders/messages";
      await call(client(port), { method: "POST", path, headers, body }, 201);
      recorder.scheduled(publish);
      await clients.finish(port);
      assert.deepEqual(
        recorder.history.readers.map(({ seen }) => seen.map(({ id }) => id)),
        [["late-0"], ["late-0"]],
      );
      assert.deepEqual(check(recorder.history, await readBack(port)), []);
      target.stop();
    }));
});
