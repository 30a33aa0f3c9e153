/**
 * A gateway over a real broker on a disk in memory, served on a free port by
 * the adapter of the runtime at hand.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { type Broker, type BrokerOptions, openBroker } from "../../src/broker/mod.ts";
import { createGateway, type Gateway, type GatewayOptions } from "../../src/gateway/app.ts";
import type { HttpServer, Runtime } from "../../src/runtime/runtime.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { systemClock } from "../../storage/base/clock_node.ts";
import { digest } from "../../storage/base/digest_node.ts";
import { MemoryDisk } from "../../storage/base/disk_memory.ts";
import { inlineJobs } from "../../storage/mod.ts";

export class ServedGateway {
  readonly url: string;
  readonly port: number;
  readonly broker: Broker;
  readonly gateway: Gateway;
  readonly reported: Error[];
  readonly #server: HttpServer;

  constructor(parts: { server: HttpServer; broker: Broker; gateway: Gateway; reported: Error[] }) {
    this.#server = parts.server;
    this.broker = parts.broker;
    this.port = parts.server.port;
    this.gateway = parts.gateway;
    this.reported = parts.reported;
    this.url = `http://127.0.0.1:${parts.server.port}`;
  }

  static async start(options: Partial<GatewayOptions> = {}): Promise<ServedGateway> {
    const broker = await openSystemBroker();
    const reported: Error[] = [];
    const gateway = createGateway({
      broker: broker.api,
      apiKeys: [],
      corsOrigins: [],
      version: "0.0.0",
      report: (error) => reported.push(error),
      now: Date.now,
      ...options,
    });
    const name = "Bun" in globalThis ? "bun" : "Deno" in globalThis ? "deno" : "node";
    const { runtime } = (await import(`../../src/runtime/${name}.ts`)) as { runtime: Runtime };
    const where = { hostname: "127.0.0.1", port: 0, exposed: false };
    const server = await runtime.serve(where, (request, host) => gateway.fetch(request, host));
    return new ServedGateway({ server, broker, gateway, reported });
  }

  async stop(): Promise<void> {
    await this.gateway.drain();
    this.#server.abort();
    await this.broker.close();
  }
}

/** The real thing, on the real clock, but for the disk: what it keeps is gone with the process. */
export async function openSystemBroker(options: Partial<BrokerOptions> = {}): Promise<Broker> {
  const disk = new MemoryDisk();
  const ports = {
    disk,
    clock: systemClock,
    crc32,
    digest,
    jobs: inlineJobs({ disk, crc32 }),
    entropy: (size: number) => new Uint8Array(randomBytes(size)),
    fatal(error: Error): never {
      throw error;
    },
    log() {},
  };
  return await openBroker(ports, {
    nodeId: "test",
    segmentBytes: 8 << 20,
    autoCreate: true,
    delayMaxMs: 40 * 86_400_000,
    retentionMaxMs: 7 * 86_400_000,
    waitersMax: 1000,
    idempotencyWindowMs: 24 * 60 * 60 * 1000,
    ...options,
  });
}
