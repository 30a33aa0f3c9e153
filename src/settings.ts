/**
 * The table of the settings of a node, whichever command runs it.
 *
 * It makes the flags of `tidegate serve`, `broker` and `gateway`, the `TIDEGATE_*`
 * variables, the lines of `--help` and the table in the README.
 *
 * A setting exists only where two deployments need two values; everything else
 * is a constant beside the code it governs.
 *
 * @module
 */

import * as z from "zod";
import {
  DAY_MS,
  MiB,
  SECOND_MS,
  apiKey,
  bytes,
  dnsName,
  duration,
  etcdUrl,
  integer,
  list,
  optionalAddress,
  optionalName,
  optionalPath,
  optionalPort,
  origin,
  port,
  sharedSecret,
  text,
  toggle,
} from "./setting_values.ts";

/** The commands that run a node, or meet those of a cluster. */
export type NodeCommand = "serve" | "broker" | "gateway" | "elect";

const ALL: readonly NodeCommand[] = ["serve", "broker", "gateway"];
const FRONT: readonly NodeCommand[] = ["serve", "gateway"];
const STORE: readonly NodeCommand[] = ["serve", "broker"];
const CLUSTER: readonly NodeCommand[] = ["broker", "gateway", "elect"];
const NAMED: readonly NodeCommand[] = ["broker", "elect"];
const BROKER: readonly NodeCommand[] = ["broker"];

export interface Setting<Schema extends z.ZodType> {
  /** Reads the text of a flag or variable. */
  readonly schema: Schema;
  /** As one would write it. */
  readonly fallback: string;
  /** What the value is, for `--flag <value>`; absent for a switch. */
  readonly value?: string;
  readonly about: string;
  /** Whose it is. */
  readonly commands: readonly NodeCommand[];
  /** Only a variable: arguments can be read by everyone on the machine. */
  readonly secret?: true;
}

function setting<Schema extends z.ZodType>(schema: Schema, facts: Omit<Setting<Schema>, "schema">) {
  return { schema, ...facts };
}

export const SETTINGS = {
  host: setting(text, {
    commands: FRONT,
    fallback: "127.0.0.1",
    value: "address",
    about: "Address to listen on; any but loopback needs API keys or `--insecure`",
  }),
  port: setting(port, {
    commands: FRONT,
    fallback: "8080",
    value: "number",
    about: "Port to listen on; 0 takes a free one",
  }),
  dataDir: setting(text, {
    commands: STORE,
    fallback: "./data",
    value: "path",
    about: "Directory of the commit log; one node, one directory",
  }),
  apiKeys: setting(list(apiKey), {
    commands: FRONT,
    fallback: "",
    value: "keys",
    about: "Keys that clients send as `Authorization: Bearer <key>`, comma separated",
    secret: true,
  }),
  insecure: setting(toggle, {
    commands: ALL,
    fallback: "false",
    about: "Serve everyone who can reach the address, without API keys",
  }),
  behindProxy: setting(toggle, {
    commands: FRONT,
    fallback: "false",
    about: "A proxy in front cuts off slow clients; on Deno this serves with the faster Deno.serve",
  }),
  tlsCert: setting(optionalPath, {
    commands: FRONT,
    fallback: "",
    value: "file",
    about: "Serve over TLS with this certificate (PEM, with its chain); read again when it changes",
  }),
  tlsKey: setting(optionalPath, {
    commands: FRONT,
    fallback: "",
    value: "file",
    about: "Its private key (PEM); both files are read again at SIGHUP, too",
  }),
  corsOrigins: setting(list(origin), {
    commands: FRONT,
    fallback: "",
    value: "origins",
    about: "Origins whose pages may call the node, comma separated, or `*`",
  }),
  autoCreate: setting(toggle, {
    commands: FRONT,
    fallback: "true",
    about: "Create a topic at its first publish or subscription",
  }),
  delayMax: setting(duration({ minMs: SECOND_MS, maxMs: 3650 * DAY_MS }), {
    commands: ALL,
    fallback: "40d",
    value: "duration",
    about: "The longest a message may be delayed",
  }),
  retentionMax: setting(duration({ minMs: SECOND_MS, maxMs: 3650 * DAY_MS }), {
    commands: STORE,
    fallback: "7d",
    value: "duration",
    about: "The longest a message is kept, whatever its topic says",
  }),
  segmentBytes: setting(bytes({ min: 32 * MiB, max: 1024 * MiB }), {
    commands: STORE,
    fallback: "64MiB",
    value: "size",
    about: "Size at which a segment of the commit log is sealed",
  }),
  diskHigh: setting(integer({ min: 1, max: 100 }), {
    commands: STORE,
    fallback: "85",
    value: "percent",
    about: "So much of the file system in use is a warning, in `/readyz`, the log and the metrics",
  }),
  diskFull: setting(integer({ min: 1, max: 100 }), {
    commands: STORE,
    fallback: "95",
    value: "percent",
    about: "From so much on publishes are answered 507, and consumers go on",
  }),
  diskReserve: setting(bytes({ min: 0, max: 1024 * MiB }), {
    commands: STORE,
    fallback: "64MiB",
    value: "size",
    about:
      "Set aside so that consumers, deletes and purges go on when others fill the disk; at most a hundredth of it",
  }),
  idempotencyWindow: setting(duration({ minMs: SECOND_MS, maxMs: 30 * DAY_MS }), {
    commands: STORE,
    fallback: "24h",
    value: "duration",
    about: "How long an `Idempotency-Key` is remembered: `90s`, `15m`, `24h`, `7d`",
  }),
  scrubInterval: setting(duration({ minMs: SECOND_MS, maxMs: 365 * DAY_MS }), {
    commands: STORE,
    fallback: "7d",
    value: "duration",
    about: "In which all that is stored is read once, to find damage while it is young",
  }),
  waitersMax: setting(integer({ min: 1, max: 1_000_000 }), {
    commands: ALL,
    fallback: "10000",
    value: "count",
    about: "Long-polls and streams held open at once; more are refused with 503",
  }),
  webhookAllowPrivate: setting(toggle, {
    commands: ALL,
    fallback: "false",
    about: "Let check-backs go to loopback and private addresses, and over plain http",
  }),
  logLevel: setting(z.enum(["debug", "info", "warn", "error"]), {
    commands: ALL,
    fallback: "info",
    value: "level",
    about: "Least level to log: debug (every request), info, warn or error",
  }),
  logFormat: setting(z.enum(["text", "json"]), {
    commands: ALL,
    fallback: "text",
    value: "format",
    about: "How to log to stderr: text (in colour on a terminal), or json for one object a line",
  }),
  cluster: setting(optionalName, {
    commands: CLUSTER,
    fallback: "tidegate",
    value: "name",
    about: "The cluster that the node is of; others do not see it",
  }),
  etcd: setting(list(etcdUrl), {
    commands: CLUSTER,
    fallback: "http://127.0.0.1:2379",
    value: "urls",
    about: "Where etcd answers, comma separated; 3.5 or later",
  }),
  etcdUser: setting(optionalPath, {
    commands: CLUSTER,
    fallback: "",
    value: "name",
    about: "User of etcd, where it asks for one",
  }),
  etcdPassword: setting(optionalPath, {
    commands: CLUSTER,
    fallback: "",
    value: "password",
    about: "Password of that user",
    secret: true,
  }),
  etcdCa: setting(optionalPath, {
    commands: CLUSTER,
    fallback: "",
    value: "file",
    about: "Authority of etcd's certificate (PEM), in place of the system's",
  }),
  etcdCert: setting(optionalPath, {
    commands: CLUSTER,
    fallback: "",
    value: "file",
    about: "Certificate that is shown to etcd (PEM)",
  }),
  etcdKey: setting(optionalPath, {
    commands: CLUSTER,
    fallback: "",
    value: "file",
    about: "Its private key (PEM)",
  }),
  clusterSecret: setting(sharedSecret, {
    commands: CLUSTER,
    fallback: "",
    value: "secret",
    about: "What the nodes of a cluster prove to each other that they know: 16 characters at least",
    secret: true,
  }),
  rpcCa: setting(optionalPath, {
    commands: CLUSTER,
    fallback: "",
    value: "file",
    about: "Authority of the nodes' certificates (PEM): calls between nodes go over mutual TLS",
  }),
  rpcCert: setting(optionalPath, {
    commands: CLUSTER,
    fallback: "",
    value: "file",
    about: "Certificate of this node (PEM), for the name or address others reach it under",
  }),
  rpcKey: setting(optionalPath, {
    commands: CLUSTER,
    fallback: "",
    value: "file",
    about: "Its private key (PEM)",
  }),
  rpcNames: setting(list(dnsName), {
    commands: CLUSTER,
    fallback: "",
    value: "names",
    about:
      "DNS names, of which a node's certificate must have one; with none, all the authority signed will do",
  }),
  group: setting(optionalName, {
    commands: NAMED,
    fallback: "",
    value: "name",
    about: "The broker group that the node is a member of, for all time",
  }),
  node: setting(optionalName, {
    commands: NAMED,
    fallback: "",
    value: "name",
    about: "The node's name, unique in the cluster for all time; one name, one data directory",
  }),
  rpcHost: setting(text, {
    commands: BROKER,
    fallback: "127.0.0.1",
    value: "address",
    about: "Address on which other nodes are answered; any but loopback needs a secret or TLS",
  }),
  rpcPort: setting(port, {
    commands: BROKER,
    fallback: "9870",
    value: "number",
    about: "Port on which other nodes are answered; 0 takes a free one",
  }),
  advertise: setting(optionalAddress, {
    commands: BROKER,
    fallback: "",
    value: "host:port",
    about: "Where other nodes reach this one, when not at that address and port",
  }),
  adminPort: setting(optionalPort, {
    commands: BROKER,
    fallback: "",
    value: "number",
    about:
      "Port of `/livez`, `/readyz` and `/metrics`, on loopback; none when empty, 0 takes a free one",
  }),
  minSync: setting(integer({ min: 1, max: 9 }), {
    commands: BROKER,
    fallback: "2",
    value: "count",
    about: "Of a group that this node founds: nothing is stored while fewer members keep up",
  }),
  catchUpRate: setting(bytes({ min: MiB, max: 16 * 1024 * MiB }), {
    commands: BROKER,
    fallback: "64MiB",
    value: "size",
    about: "Bytes a second, at most, for members of the group that catch up",
  }),
} as const satisfies Record<string, Setting<z.ZodType>>;
