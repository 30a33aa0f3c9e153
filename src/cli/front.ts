/**
 * What faces clients, the same for a node alone and for a gateway of a cluster: the
 * gateway over a broker, its figures, and the HTTP server with its certificate.
 *
 * @module
 */

import manifest from "../../package.json" with { type: "json" };
import { systemClock } from "../../storage/base/clock_node.ts";
import type { Log } from "../../storage/base/logger.ts";
import type { Collect } from "../../storage/base/metrics.ts";
import type { BrokerApi } from "../broker/api.ts";
import { type Config, isLoopback } from "../config.ts";
import { type AnsweredRequest, createGateway, type Gateway } from "../gateway/app.ts";
import type { Certificate, Handle, HttpServer, Runtime } from "../runtime/runtime.ts";
import { documentationAsset } from "./assets.ts";
import { type CertificateFiles, CertificateRenewal, readCertificate } from "./certificate.ts";
import { currentRuntime } from "./current_runtime.ts";
import { CliError } from "./exit.ts";
import { NodeMetrics } from "./metrics.ts";

export type FrontConfig = Pick<
  Config,
  | "host"
  | "port"
  | "apiKeys"
  | "behindProxy"
  | "tlsCert"
  | "tlsKey"
  | "corsOrigins"
  | "waitersMax"
  | "logLevel"
>;

export interface FrontParts {
  readonly broker: BrokerApi;
  /** The broker's figures. */
  readonly metrics: Collect;
  /** Where the log lies; undefined: there is none here. */
  readonly dataDir?: string | undefined;
  readonly log: Log;
}

export interface Front {
  readonly gateway: Gateway;
  readonly server: HttpServer;
  /** `https://host:port` */
  readonly url: string;
  /** Leaves no timer behind; figures are told no more. */
  close(): void;
}

/** @throws {CliError} when the certificate or the address cannot be had. */
export async function openFront(config: FrontConfig, parts: FrontParts): Promise<Front> {
  const files = certificateFiles(config);
  const tls = files && readCertificate(files);
  const runtime = await currentRuntime();
  const { version } = manifest;
  const facts = { dataDir: parts.dataDir, version, runtime: runtime.name };
  const metrics = new NodeMetrics(systemClock, facts);
  metrics.add(parts.metrics);
  const gateway = gatewayOver(config, { ...parts, figures: metrics });
  const handle: Handle = (request, host) => gateway.fetch(request, host);
  try {
    const server = await listen(config, { runtime, handle, tls });
    if (files) renewing(files, { server, log: parts.log });
    return { gateway, server, url: urlOf(config, server), close: () => metrics.stop() };
  } catch (error) {
    metrics.stop();
    throw error;
  }
}

function gatewayOver(
  config: FrontConfig,
  parts: FrontParts & { readonly figures: NodeMetrics },
): Gateway {
  const { broker, log, figures } = parts;
  const { version } = manifest;
  const gateway = createGateway({
    broker,
    apiKeys: config.apiKeys,
    corsOrigins: config.corsOrigins,
    version,
    now: () => systemClock.now(),
    elapsed: () => systemClock.elapsed(),
    metrics: () => figures.text(),
    // Each costs more than a publish, so they are made only where somebody asked for them.
    answered: config.logLevel === "debug" ? requestLog(log) : undefined,
    report: (error, about) => log("error", "A request failed", { ...about, error }),
    assets: documentationAsset,
    limits: { streamsMax: config.waitersMax },
  });
  figures.add(() => gateway.metrics());
  return gateway;
}

/** What cannot be read is said before anything is opened. @throws {CliError} */
export function checkCertificate(config: FrontConfig): void {
  const files = certificateFiles(config);
  if (files) readCertificate(files);
}

function certificateFiles({
  tlsCert: cert,
  tlsKey: key,
}: FrontConfig): CertificateFiles | undefined {
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
  config: FrontConfig,
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

function urlOf({ host, tlsCert }: FrontConfig, { port }: HttpServer): string {
  const scheme = tlsCert === "" ? "http" : "https";
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
