/**
 * One node, put together: data directory, broker, gateway, HTTP server.
 *
 * @module
 */

import manifest from "../../package.json" with { type: "json" };
import { systemClock } from "../../storage/base/clock_node.ts";
import type { Log } from "../../storage/base/logger.ts";
import { type Config, isLoopback } from "../config.ts";
import { type AnsweredRequest, createGateway } from "../gateway/app.ts";
import type { Certificate, Handle, HttpServer, Runtime } from "../runtime/runtime.ts";
import { documentationAsset } from "./assets.ts";
import { openBrokerIn } from "./broker.ts";
import { type CertificateFiles, CertificateRenewal, readCertificate } from "./certificate.ts";
import { holdDataDir } from "./data_dir.ts";
import type { Draining } from "./drain.ts";
import { CliError } from "./exit.ts";
import { NodeMetrics } from "./metrics.ts";

export interface RunningNode extends Draining {
  /** What `serve` prints when requests are answered. */
  readonly readyLine: string;
}

export interface NodePorts {
  readonly log: Log;
  /** The log's disk failed: must not return. */
  readonly fatal: (error: unknown) => never;
}

/**
 * Opens the data directory and serves.
 *
 * @throws {CliError} when the directory or the address cannot be had.
 */
export async function openNode(config: Config, ports: NodePorts): Promise<RunningNode> {
  const files = certificateFiles(config);
  const tls = files && readCertificate(files);
  const dataDir = holdDataDir(config.dataDir);
  const broker = await openBrokerIn(dataDir, { config, ...ports });
  const runtime = await currentRuntime();
  const { version } = manifest;
  const metrics = new NodeMetrics(systemClock, {
    dataDir: config.dataDir,
    version,
    runtime: runtime.name,
  });
  metrics.add(broker.metrics);
  const gateway = createGateway({
    broker: broker.api,
    apiKeys: config.apiKeys,
    corsOrigins: config.corsOrigins,
    version,
    now: () => systemClock.now(),
    elapsed: () => systemClock.elapsed(),
    metrics: () => metrics.text(),
    // Each costs more than a publish, so they are made only where somebody asked for them.
    answered: config.logLevel === "debug" ? requestLog(ports.log) : undefined,
    report: (error, about) => ports.log("error", "A request failed", { ...about, error }),
    assets: documentationAsset,
    limits: { streamsMax: config.waitersMax },
  });
  metrics.add(() => gateway.metrics());
  try {
    const handle: Handle = (request, host) => gateway.fetch(request, host);
    const server = await listen(config, { runtime, handle, tls });
    if (files) renewing(files, { server, log: ports.log });
    return { broker, gateway, server, readyLine: readyLine(config, server) };
  } catch (error) {
    await broker.close();
    throw error;
  }
}

function certificateFiles({ tlsCert: cert, tlsKey: key }: Config): CertificateFiles | undefined {
  return cert === "" ? undefined : { cert, key };
}

function renewing(
  files: CertificateFiles,
  { server, log }: { readonly server: HttpServer; readonly log: Log },
): void {
  const use = (certificate: Certificate) => server.setCertificate(certificate);
  new CertificateRenewal(files, { clock: systemClock, log, use }).start();
}

function requestLog(log: Log): (about: AnsweredRequest) => void {
  return ({ durationMs, ...about }) =>
    log("debug", "Request", { ...about, durationMs: Math.round(durationMs * 1000) / 1000 });
}

async function listen(
  config: Config,
  parts: {
    readonly runtime: Runtime;
    readonly handle: Handle;
    readonly tls: Certificate | undefined;
  },
): Promise<HttpServer> {
  const { host, port, behindProxy } = config;
  const { runtime, handle, tls } = parts;
  const exposed = !isLoopback(host) && !behindProxy;
  try {
    return await runtime.serve({ hostname: host, port, exposed, tls }, handle);
  } catch (error) {
    throw cannotListen(error, { host, port });
  }
}

/** Only the adapter of the runtime that is running can be loaded at all. */
async function currentRuntime(): Promise<Runtime> {
  const name = "Bun" in globalThis ? "bun" : "Deno" in globalThis ? "deno" : "node";
  const adapter = (await import(`../runtime/${name}.ts`)) as { runtime: Runtime };
  return adapter.runtime;
}

/** Each runtime has its own words for the two things that happen. */
function cannotListen(error: unknown, { host, port }: { host: string; port: number }): CliError {
  const { message, name, code = "" } = error as Error & { code?: string };
  const said = `${name} ${code} ${message}`;
  const taken = /EADDRINUSE|AddrInUse|in use/i.test(said);
  const forbidden = /EACCES|PermissionDenied|permission denied/i.test(said);
  const reason = taken
    ? "the address is in use"
    : forbidden
      ? "permission denied (ports below 1024 need it)"
      : message;
  const exit = forbidden && !taken ? "forbidden" : "unavailable";
  return new CliError(exit, `Cannot listen on ${host}:${port}: ${reason}`, error);
}

function readyLine({ host, dataDir, tlsCert }: Config, { port, adapter }: HttpServer): string {
  const scheme = tlsCert === "" ? "http" : "https";
  const url = `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return `tidegate ${manifest.version} ready on ${url} (${adapter}, data in ${dataDir})`;
}
