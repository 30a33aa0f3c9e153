/**
 * What a node of a cluster needs of its settings to meet the others: the coordinator,
 * who it is, and how it reaches a node.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { encodeUtf8 } from "../../storage/base/bytes.ts";
import { crc32 } from "../../storage/base/checksum_node.ts";
import { systemClock } from "../../storage/base/clock_node.ts";
import { hmac } from "../../storage/base/hmac_node.ts";
import { EtcdClient, EtcdCoordinator } from "../cluster/mod.ts";
import { openEtcdTransport } from "../cluster/etcd_transport_node.ts";
import type { Config } from "../config.ts";
import { Peer } from "../rpc/mod.ts";
import { dialer } from "../rpc/dial_node.ts";
import type { TlsFiles } from "../rpc/socket_node.ts";
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
>;

/** Of all that speak RPC on the real clock. */
export const RPC_PORTS = {
  clock: systemClock,
  crc32,
  hmac,
  entropy: (size: number) => new Uint8Array(randomBytes(size)),
};

/** @throws {CliError} `config` when a file cannot be read. */
export function openCoordinator(config: ClusterConfig): EtcdCoordinator {
  const { cluster, etcd: urls, etcdUser: user, etcdPassword: password } = config;
  const transport = openEtcdTransport({
    urls,
    authorities: pem(config.etcdCa),
    certificate: pem(config.etcdCert),
    key: pem(config.etcdKey),
  });
  const client = new EtcdClient(transport, user === "" ? undefined : { user, password });
  return new EtcdCoordinator(client, { clock: systemClock, cluster });
}

/** How nodes of the cluster know each other. */
export class Acquaintance {
  readonly self: { cluster: string; node: string; secret: Uint8Array | undefined };
  readonly tls: TlsFiles | undefined;
  readonly #node: string;

  /** @throws {CliError} `config` when a file cannot be read. */
  constructor(config: ClusterConfig, node: string) {
    const secret = config.clusterSecret === "" ? undefined : encodeUtf8(config.clusterSecret);
    this.#node = node;
    this.self = { cluster: config.cluster, node, secret };
    const [authority, certificate, key] = [config.rpcCa, config.rpcCert, config.rpcKey].map(pem);
    this.tls = authority && certificate && key ? { authority, certificate, key } : undefined;
  }

  /** Nobody proves anything: on loopback, or because an operator said so. */
  get trustsAnybody(): boolean {
    return !this.self.secret && !this.tls;
  }

  /** A node under its address. It is not dialled before the first call, or `open`. */
  peer({ node, address }: { readonly node: string; readonly address: string }): Peer {
    const dial = dialer({ ...placeOf(address), tls: this.tls });
    const authenticated = this.tls !== undefined || this.trustsAnybody;
    return new Peer({ ...RPC_PORTS, dial }, { self: this.self, expects: { node, authenticated } });
  }

  get node(): string {
    return this.#node;
  }
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

function pem(path: string): string | undefined {
  if (path === "") return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new CliError("config", `Cannot read "${path}": ${(error as Error).message}`, error);
  }
}
