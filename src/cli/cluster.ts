/**
 * What a node of a cluster needs of its settings to meet the others: the coordinator,
 * who it is, and how it reaches a node.
 *
 * @module
 */

import { randomBytes, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { encodeUtf8 } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { systemClock } from "../../storage/base/clock_node.ts";
import { hmac } from "../../storage/base/hmac_node.ts";
import type { Log } from "../../storage/base/logger.ts";
import { EtcdClient, EtcdCoordinator } from "../cluster/mod.ts";
import { openEtcdTransport } from "../cluster/etcd_transport_node.ts";
import type { Config } from "../config.ts";
import { Peer } from "../rpc/mod.ts";
import { dialer } from "../rpc/dial_node.ts";
import type { TlsFiles } from "../rpc/socket_node.ts";
import type { Certificate } from "../runtime/runtime.ts";
import { readCertificate } from "./certificate.ts";
import { CliError } from "./exit.ts";

export type ClusterConfig = Pick<
  Config,
  | "cluster"
  | "etcd"
  | "etcdUser"
  | "etcdPassword"
  | "etcdCa"
  | "etcdCert"
  | "etcdKey"
  | "clusterSecret"
  | "rpcCa"
  | "rpcCert"
  | "rpcKey"
  | "rpcNames"
>;

/** Of all that speak RPC on the real clock. */
export const RPC_PORTS = {
  clock: systemClock,
  crc32,
  hmac,
  entropy: (size: number) => new Uint8Array(randomBytes(size)),
};

/** @throws {CliError} `config` when a file cannot be read, or is not what it should be. */
export function openCoordinator(config: ClusterConfig): EtcdCoordinator {
  const { cluster, etcd: urls, etcdUser: user, etcdPassword: password } = config;
  const { cert: certificate, key } = pair(config.etcdCert, config.etcdKey);
  const authorities = authority(config.etcdCa);
  const transport = openEtcdTransport({ urls, authorities, certificate, key });
  const client = new EtcdClient(transport, user === "" ? undefined : { user, password });
  return new EtcdCoordinator(client, { clock: systemClock, cluster });
}

/**
 * How nodes of the cluster know each other. Whom this node cannot reach is told once,
 * with the reason, and again when that is another; it is tried again all the same.
 */
export class Acquaintance {
  readonly self: { cluster: string; node: string; secret: Uint8Array | undefined };
  readonly tls: TlsFiles | undefined;
  readonly #log: Log;
  /** Why nodes cannot be reached, as it was told last. */
  readonly #unreached = new Map<string, string>();

  /** @throws {CliError} `config` when a file cannot be read, or is not what it should be. */
  constructor(
    config: ClusterConfig,
    { node, log = () => {} }: { readonly node: string; readonly log?: Log },
  ) {
    const secret = config.clusterSecret === "" ? undefined : encodeUtf8(config.clusterSecret);
    this.self = { cluster: config.cluster, node, secret };
    this.tls = tlsOf(config);
    this.#log = log;
  }

  /** Nobody proves anything: on loopback, or because an operator said so. */
  get trustsAnybody(): boolean {
    return !this.self.secret && !this.tls;
  }

  /** A node under its address. It is not dialled before the first call, or `open`. */
  peer({ node, address }: { readonly node: string; readonly address: string }): Peer {
    const dial = dialer({ ...placeOf(address), tls: this.tls });
    const authenticated = this.tls !== undefined || this.trustsAnybody;
    const tell = (why: string | undefined) => this.#tell({ node, address, why });
    return new Peer(
      { ...RPC_PORTS, dial, tell },
      { self: this.self, expects: { node, authenticated } },
    );
  }

  #tell(attempt: {
    readonly node: string;
    readonly address: string;
    readonly why: string | undefined;
  }): void {
    const { node, address, why } = attempt;
    const told = this.#unreached.get(node);
    if (told === why) return;
    if (why === undefined) {
      this.#unreached.delete(node);
      this.#log("info", "A node is reached again", { node, address });
    } else {
      this.#unreached.set(node, why);
      this.#log("warn", "A node cannot be reached", { node, address, why });
    }
  }
}

function tlsOf({ rpcCa, rpcCert, rpcKey, rpcNames }: ClusterConfig): TlsFiles | undefined {
  const { cert, key } = pair(rpcCert, rpcKey);
  const by = authority(rpcCa);
  if (!by || !cert || !key) return undefined;
  return { authority: by, certificate: cert, key, names: rpcNames };
}

/** `host:port`, of an address of either family. */
export function addressOf(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

export function placeOf(address: string): { readonly host: string; readonly port: number } {
  const at = address.lastIndexOf(":");
  const host = address.slice(0, at).replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(address.slice(at + 1)) };
}

function pair(cert: string, key: string): Partial<Certificate> {
  return cert === "" ? {} : readCertificate({ cert, key });
}

function authority(path: string): string | undefined {
  if (path === "") return undefined;
  try {
    const text = readFileSync(path, "utf8");
    void new X509Certificate(text);
    return text;
  } catch (error) {
    throw new CliError("config", `Cannot use "${path}": ${(error as Error).message}`, error);
  }
}
