/**
 * Definitions from one node to another: what is exported is what an import makes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { EXIT } from "../../src/cli/exit.ts";
import { runCommand } from "../fakes/terminal.ts";
import { type Server, withServer, withTempDir } from "./server.ts";
import { call, client, put } from "./wire.ts";

interface Exported {
  readonly topics: readonly { readonly name: string; readonly queues: number }[];
  readonly producerGroups: readonly { readonly name: string; readonly checkSecretSet?: boolean }[];
  readonly groups: readonly { readonly name: string; readonly maxAttempts: number }[];
}

async function exported({ origin }: Server): Promise<Exported> {
  const { printed, exitCode } = await runCommand(["export", "--url", origin]);
  assert.equal(exitCode, EXIT.ok.code);
  return JSON.parse(printed.join("\n")) as Exported;
}

async function imported(
  { origin }: Server,
  document: object | string,
  exitCode: number = EXIT.ok.code,
) {
  return withTempDir(async (dir) => {
    const file = join(dir, "definitions.json");
    writeFileSync(file, typeof document === "string" ? document : JSON.stringify(document));
    const result = await runCommand(["import", file, "--url", origin]);
    assert.equal(result.exitCode, exitCode, [...result.printed, ...result.warned].join("\n"));
    return result.printed;
  });
}

async function define({ port }: Server): Promise<void> {
  const sender = client(port);
  const topics = [
    [
      "orders",
      { queues: 7, description: "what was ordered", retention: { timeMs: 1000, bytes: null } },
    ],
    ["bills", { messageType: "fifo", acks: "leader" }],
  ] as const;
  for (const [name, config] of topics) await call(sender, put(`/v1/topics/${name}`, config), 201);
  const pay = { checkUrl: "https://pay.example/check", maxChecks: 3, checkSecret: SECRET };
  await call(sender, put("/v1/producers/pay", pay), 201);
  const billing = {
    subscriptions: [{ topic: "orders", filter: { tag: "a || b" } }, { topic: "bills" }],
    mode: "ordered",
    backoff: { scheduleMs: [100, 1000] },
  };
  await call(sender, put("/v1/groups/billing", billing), 201);
}

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

describe("tidegate export and import", () => {
  it("make another node like the first, and nothing again", { timeout: 60_000 }, () =>
    withServer((first) =>
      withServer(async (second) => {
        await define(first);
        const document = await exported(first);
        assert(!JSON.stringify(document).includes(SECRET), "secrets stay");
        assert.deepEqual(await imported(second, document), [
          "created topic bills",
          "created topic orders",
          "created producer group pay: without its secret",
          "created group billing",
        ]);
        const { producerGroups, ...rest } = await exported(second);
        const { producerGroups: before, ...others } = document;
        assert.deepEqual(rest, others);
        assert.deepEqual({ ...producerGroups[0], checkSecretSet: true }, before[0]);
        assert.deepEqual(await imported(second, document), [
          "unchanged topic bills",
          "unchanged topic orders",
          "unchanged producer group pay",
          "unchanged group billing",
        ]);
        // Where the secret is set, it stays.
        await imported(first, document);
        assert.deepEqual(await exported(first), document);
      }),
    ),
  );

  it("change what differs, refuse what cannot be, and go on", { timeout: 60_000 }, () =>
    withServer(async (server) => {
      await define(server);
      const wanted = {
        topics: [
          { name: "orders", queues: 9 },
          { name: "bills", messageType: "mixed" },
          { name: "no good", queues: 1 },
        ],
        groups: [{ name: "billing", maxAttempts: 3 }],
      };
      const printed = await imported(server, wanted, EXIT.refused.code);
      const begins = [
        "changed topic orders",
        "refused topic bills: ",
        "refused topic no good: ",
        "changed group billing",
      ];
      assert.deepEqual(
        printed.map((line, i) => line.startsWith(begins[i] ?? "?")),
        [true, true, true, true],
        printed.join("\n"),
      );
      const { topics, groups } = await exported(server);
      assert.equal(topics.find(({ name }) => name === "orders")?.queues, 9);
      assert.equal(groups[0]?.maxAttempts, 3);
    }),
  );

  it("take nothing that is not such a document", { timeout: 60_000 }, () =>
    withServer(async (server) => {
      for (const text of [
        "nonsense",
        "[]",
        '{"topic": []}',
        '{"topics": [{}]}',
        '{"topics": {}}',
      ]) {
        await imported(server, text, EXIT.usage.code);
      }
      assert.deepEqual(await exported(server), { topics: [], producerGroups: [], groups: [] });
    }),
  );
});
