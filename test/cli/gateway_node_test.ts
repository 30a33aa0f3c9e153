/**
 * A gateway as it runs, over HTTP: brokers behind RPC on sockets, found by the
 * directory, and the same requests a node alone is sent.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { systemClock } from "../../storage/base/clock_node.ts";
import { hmac } from "../../storage/base/hmac_node.ts";
import { openGatewayNode } from "../../src/cli/gateway_node.ts";
import type { RunningNode } from "../../src/cli/node.ts";
import { Directory, EmbeddedCoordinator, foundingState } from "../../src/cluster/mod.ts";
import { dialer } from "../../src/rpc/dial_node.ts";
import { listen, type Listener } from "../../src/rpc/listen_node.ts";
import { Peer, RpcServer, serveBroker, Services } from "../../src/rpc/mod.ts";
import { openSystemBroker } from "../fakes/served_gateway.ts";

const SECRET = new Uint8Array(32).fill(3);
const PORTS = {
  clock: systemClock,
  crc32,
  hmac,
  entropy: (size: number) => new Uint8Array(randomBytes(size)),
};

interface Member {
  readonly server: RpcServer;
  readonly listener: Listener;
  close(): Promise<void>;
}

/** A broker group of one node, which leads. */
async function startMember(coordinator: EmbeddedCoordinator, group: string): Promise<Member> {
  const directory = new Directory(coordinator);
  const node = `${group}-n1`;
  const member = { node, boot: "1", disk: "1" };
  const brokerGroup = await directory.number(group);
  const broker = await openSystemBroker({ brokerGroup, autoCreate: false });
  const services = serveBroker(new Services(), { api: broker.api, clock: systemClock });
  const self = { cluster: "c", node, secret: SECRET };
  const server = new RpcServer({ ...PORTS, log() {} }, { self, services });
  const listener = await listen(server, { host: "127.0.0.1", port: 0 });
  await directory.announce({ node, group, address: `127.0.0.1:${listener.port}` });
  const living = coordinator.live(group, member, { onLease() {} });
  await coordinator.found(group, { ...foundingState(member, 1), epoch: 1, leader: member });
  return {
    server,
    listener,
    async close() {
      await living.end();
      listener.close();
      server.close();
      await broker.close();
    },
  };
}

function connect({ node, address }: { readonly node: string; readonly address: string }): Peer {
  const [host = "", port = ""] = address.split(":");
  return new Peer(
    { ...PORTS, dial: dialer({ host, port: Number(port) }) },
    {
      self: { cluster: "c", node: "gateway", secret: SECRET },
      expects: { node, authenticated: false },
    },
  );
}

async function open(
  groups: number,
  work: (url: string, more: { members: Member[] }) => Promise<void>,
) {
  const coordinator = new EmbeddedCoordinator(systemClock);
  const members: Member[] = [];
  for (let i = 1; i <= groups; i++) members.push(await startMember(coordinator, `g${i}`));
  let node: RunningNode | undefined;
  try {
    node = await openGatewayNode(
      {
        host: "127.0.0.1",
        port: 0,
        apiKeys: [],
        behindProxy: false,
        tlsCert: "",
        tlsKey: "",
        corsOrigins: [],
        waitersMax: 100,
        logLevel: "error",
        autoCreate: true,
        delayMax: 86_400_000,
        webhookAllowPrivate: false,
      },
      { log() {}, coordinator, connect, name: "gateway" },
    );
    await work(/http:\S+/.exec(node.readyLine)?.[0].replace(/\/$/, "") ?? "", { members });
  } finally {
    node?.broker.drain();
    await node?.gateway.drain();
    await node?.server.stop();
    await node?.broker.close();
    for (const member of members) await member.close();
  }
}

async function json(response: Response): Promise<Record<string, unknown>> {
  return (await response.json()) as Record<string, unknown>;
}

function post(url: string, body: unknown): Promise<Response> {
  const headers = { "content-type": "application/json" };
  return fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
}

describe("a gateway over three broker groups", () => {
  it("publishes, reads, follows, leases and settles over HTTP", async () => {
    await open(3, async (url) => {
      const made = await fetch(`${url}/v1/topics/orders`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ queues: 6 }),
      });
      assert.equal(made.status, 201);
      await fetch(`${url}/v1/groups/g`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ subscriptions: [{ topic: "orders" }] }),
      });

      const stream = await fetch(`${url}/v1/topics/orders/messages?after=earliest&format=sse`);
      for (let i = 0; i < 12; i++) {
        const sent = await fetch(`${url}/v1/topics/orders/messages`, {
          method: "POST",
          body: `m${i}`,
        });
        assert.equal(sent.status, 201);
      }
      const page = await json(await fetch(`${url}/v1/topics/orders/messages?limit=5`));
      const rest = await json(
        await fetch(`${url}/v1/topics/orders/messages?after=${String(page["cursor"])}`),
      );
      const all = [page, rest].flatMap((one) => one["messages"] as { id: string }[]);
      assert.equal(new Set(all.map(({ id }) => id)).size, 12);

      const seen = new Set<string>();
      const reader = stream.body?.getReader();
      const text = new TextDecoder();
      for (let read = ""; seen.size < 12; ) {
        const chunk = await reader?.read();
        read += text.decode(chunk?.value, { stream: true });
        for (const [, id = ""] of read.matchAll(/"id":"([^"]+)","topic"/g)) seen.add(id);
      }
      await reader?.cancel();
      assert.deepEqual([...seen].sort(), all.map(({ id }) => id).sort());

      const got = await json(await post(`${url}/v1/groups/g/receive`, { max: 100, waitMs: 1000 }));
      const leases = got["messages"] as { receipt: string }[];
      assert.equal(leases.length, 12);
      const settled = await post(`${url}/v1/groups/g/settle`, {
        ack: leases.map((one) => one.receipt),
      });
      const results = (await json(settled))["results"] as { status: string }[];
      assert.deepEqual(new Set(results.map(({ status }) => status)), new Set(["ok"]));
    });
  });

  it("tells which broker groups have a leader", async () => {
    await open(2, async (url) => {
      const ready = await fetch(`${url}/readyz`);
      assert.equal(ready.status, 200);
      assert.deepEqual(await json(ready), {
        status: "ready",
        damaged: [],
        groups: [
          { id: "g1", leader: "g1-n1" },
          { id: "g2", leader: "g2-n1" },
        ],
      });
      const cluster = await json(await fetch(`${url}/v1/cluster`));
      assert.equal(cluster["mode"], "cluster");
      assert.match(
        await (await fetch(`${url}/metrics`)).text(),
        /tidegate_broker_group_reachable\{group="g2"\} 1/,
      );
    });
  });

  it("is not ready without any broker group", async () => {
    await open(0, async (url) => {
      assert.equal((await fetch(`${url}/readyz`)).status, 503);
      const sent = await fetch(`${url}/v1/topics/orders/messages`, { method: "POST", body: "m" });
      assert.equal(sent.status, 503);
      assert.deepEqual((await json(sent))["applied"], false);
    });
  });
});
