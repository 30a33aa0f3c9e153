/**
 * What a member of a broker group tells a service manager and a monitoring system, over
 * HTTP on loopback:
 *
 *   /livez     200 while the process answers
 *   /readyz    200 while what the node holds counts in its group, else 503 and why;
 *              in both, who leads, or that nobody does
 *   /metrics   its figures
 *
 * @module
 */

import { systemClock } from "../../storage/base/clock_node.ts";
import type { Log } from "../../storage/base/logger.ts";
import type { Collect } from "../../storage/base/metrics.ts";
import manifest from "../../package.json" with { type: "json" };
import type { BrokerNode } from "../cluster/mod.ts";
import type { Config } from "../config.ts";
import type { HttpServer } from "../runtime/runtime.ts";
import { CliError } from "./exit.ts";
import { currentRuntime } from "./current_runtime.ts";
import { NodeMetrics } from "./metrics.ts";

const HOST = "127.0.0.1";

export class Admin {
  readonly #node: Pick<BrokerNode, "state" | "isMember" | "life">;
  readonly #parts: { readonly config: Config; readonly log: Log; readonly metrics: Collect };
  #server: HttpServer | undefined;

  constructor(
    node: Pick<BrokerNode, "state" | "isMember" | "life">,
    parts: { readonly config: Config; readonly log: Log; readonly metrics: Collect },
  ) {
    this.#node = node;
    this.#parts = parts;
  }

  /** @returns where, or undefined when it is not wanted. @throws {CliError} */
  async open(): Promise<string | undefined> {
    const { adminPort: port, dataDir } = this.#parts.config;
    if (port === "") return undefined;
    const runtime = await currentRuntime();
    const facts = { dataDir, version: manifest.version, runtime: runtime.name };
    const metrics = new NodeMetrics(systemClock, facts);
    metrics.add(this.#parts.metrics);
    metrics.add(async () => (await this.#node.life?.log.metrics()) ?? []);
    try {
      this.#server = await runtime.serve({ hostname: HOST, port, exposed: false }, (request) =>
        this.#answer(request, metrics),
      );
    } catch (error) {
      const detail = `Cannot listen on ${HOST}:${port}: ${(error as Error).message}`;
      throw new CliError("unavailable", detail, error);
    }
    return `http://${HOST}:${this.#server.port}`;
  }

  async #answer(request: Request, metrics: NodeMetrics): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (request.method !== "GET")
      return new Response(null, { status: 405, headers: { allow: "GET" } });
    switch (pathname) {
      case "/livez":
        return new Response("ok\n");
      case "/readyz":
        return this.#readiness();
      case "/metrics":
        return new Response(await metrics.text(), {
          headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" },
        });
      default:
        return new Response("not found\n", { status: 404 });
    }
  }

  #readiness(): Response {
    const { state, isMember, life } = this.#node;
    const { replica } = life?.driver ?? {};
    const leaderless = replica?.leaderless ?? true;
    const leader = leaderless ? undefined : replica?.leader?.node;
    const told = { state, member: isMember, leads: replica?.leads ?? false, leader, leaderless };
    return Response.json(told, { status: isMember ? 200 : 503 });
  }

  async close(): Promise<void> {
    this.#server?.abort();
  }
}
