/**
 * Who is let in, between real processes: three brokers and a gateway over mutual TLS,
 * with a secret, over an etcd that asks for a certificate and a password; and those
 * that lack one of these.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { openCoordinator } from "../../src/cli/cluster.ts";
import { openEtcdTransport } from "../../src/cluster/etcd_transport_node.ts";
import type { EtcdCoordinator } from "../../src/cluster/mod.ts";
import { readConfig } from "../../src/config.ts";
import type { TlsFiles } from "../../src/rpc/socket_node.ts";
import { type EtcdServer, freePort, startEtcd } from "../fakes/etcd_server.ts";
import { needs } from "../fakes/needs.ts";
import {
  BROKER_TLS,
  ETCD_CLIENT_TLS,
  GATEWAY_TLS,
  STRANGER_TLS,
} from "../fakes/rpc_certificates.ts";
import { request } from "./http.ts";
import { currentRuntime, type Script, spawnScript, until } from "./server.ts";

const skip = needs("etcd");
const CLUSTER = "trust";
const GROUP = "g1";
const NODES = ["n1", "n2", "n3"];
const READY_MS = 60_000;
const PASSWORD = "a password of this test";
const EXIT_CONFIG = 78;

type Env = Readonly<Record<string, string>>;

describe("a cluster that asks who is there", { skip, timeout: 240_000 }, () => {
  let etcd: EtcdServer;
  let folder: string;
  let trusted: Env;
  let coordinator: EtcdCoordinator;
  let port: number;
  const scripts = new Map<string, Script>();

  /** The files of `tls`, and the variables that name them. */
  function files(name: string, { authority, certificate, key }: TlsFiles) {
    const texts = { ca: authority, cert: certificate, key };
    const path = (what: string) => join(folder, `${name}-${what}.pem`);
    for (const [what, text] of Object.entries(texts)) writeFileSync(path(what), text);
    const variables = (of: "RPC" | "ETCD"): Env => ({
      [`TIDEGATE_${of}_CA`]: path("ca"),
      [`TIDEGATE_${of}_CERT`]: path("cert"),
      [`TIDEGATE_${of}_KEY`]: path("key"),
    });
    return { path, variables };
  }

  function start(command: "broker" | "gateway", name: string, env: Env = {}): Script {
    const own =
      command === "broker"
        ? ["--group", GROUP, "--node", name, "--data-dir", join(folder, name), "--rpc-port", "0"]
        : ["--host", "127.0.0.1", "--port", `${port}`];
    const args = [command, "--cluster", CLUSTER, "--etcd", etcd.url, ...own];
    const script = spawnScript(currentRuntime, "src/main.ts", {
      args,
      env: { ...trusted, ...env },
    });
    scripts.set(name, script);
    return script;
  }

  const wrote = () =>
    [...scripts]
      .map(([name, script]) => `---- ${name}\n${script.output().slice(-3000)}`)
      .join("\n");

  async function comes(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    await until(condition, what, READY_MS).catch((error: Error) => {
      throw new Error(`${error.message}\n${wrote()}`);
    });
  }

  async function counting(): Promise<readonly string[]> {
    const { state } = await coordinator.look(GROUP);
    return (state?.syncSet ?? []).map(({ node }) => node).toSorted();
  }

  function clientOfEtcd() {
    const { certificate, key } = ETCD_CLIENT_TLS;
    return { authorities: BROKER_TLS.authority, certificate, key };
  }

  async function startSecureEtcd(): Promise<void> {
    const authority = BROKER_TLS.authority + ETCD_CLIENT_TLS.authority; // its own, and of clients
    const server = files("etcd", { ...BROKER_TLS, authority });
    const [ca, cert, key] = [server.path("ca"), server.path("cert"), server.path("key")];
    const tls = ["--cert-file", cert, "--key-file", key, "--trusted-ca-file", ca];
    etcd = await startEtcd({ scheme: "https", more: [...tls, "--client-cert-auth"] });
    const admin = openEtcdTransport({ urls: [etcd.url], ...clientOfEtcd() });
    const root = { name: "root", password: PASSWORD };
    const added = () =>
      admin.call("/v3/auth/user/add", root).then(
        () => true,
        () => false, // it listens before it is ready
      );
    await until(added, "etcd takes a user");
    await admin.call("/v3/auth/role/add", { name: "root" });
    await admin.call("/v3/auth/user/grant", { user: "root", role: "root" });
    await admin.call("/v3/auth/enable", {});
    admin.close();
  }

  before(async () => {
    if (skip) return;
    folder = mkdtempSync(join(tmpdir(), "tidegate-trust-"));
    await startSecureEtcd();
    trusted = {
      ...files("node", BROKER_TLS).variables("RPC"),
      ...files("client", { ...ETCD_CLIENT_TLS, authority: BROKER_TLS.authority }).variables("ETCD"),
      TIDEGATE_RPC_NAMES: "broker-1.example",
      TIDEGATE_ETCD_USER: "root",
      TIDEGATE_ETCD_PASSWORD: PASSWORD,
      TIDEGATE_CLUSTER_SECRET: "a secret of this test, long enough",
    };
    const flags = { cluster: CLUSTER, etcd: etcd.url, group: GROUP, node: "n1" };
    coordinator = openCoordinator(readConfig({ command: "broker", flags, env: trusted }));
    port = await freePort();
  });

  after(async () => {
    if (skip) return;
    for (const script of scripts.values()) await script.kill("SIGKILL");
    await coordinator.close();
    await etcd.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("stores and delivers, over TLS and passwords all the way", async () => {
    for (const node of NODES) start("broker", node);
    await comes(async () => (await counting()).length === NODES.length, "all three count");
    start("gateway", "gateway");
    const ready = async () => {
      const answer = await request(port, { path: "/readyz" }).catch(() => undefined);
      return answer?.status === 200;
    };
    await comes(ready, "the gateway is ready");
    const json = { "content-type": "application/json" };
    const made = await request(port, {
      method: "PUT",
      path: "/v1/groups/billing",
      headers: json,
      body: JSON.stringify({ subscriptions: [{ topic: "orders" }] }),
    });
    assert.equal(made.status, 201, Buffer.from(made.body).toString());
    const published = await request(port, {
      method: "POST",
      path: "/v1/topics/orders/messages",
      headers: { "content-type": "text/plain" },
      body: "over TLS",
    });
    assert.equal(published.status, 201, Buffer.from(published.body).toString());
    const received = await request(port, {
      method: "POST",
      path: "/v1/groups/billing/receive",
      headers: json,
      body: JSON.stringify({ max: 1, waitMs: 10_000 }),
    });
    assert.match(Buffer.from(received.body).toString(), /over TLS/);
  });

  const strangers: [name: string, env: () => Env, says: RegExp, heard: RegExp][] = [
    [
      "without a certificate",
      () => ({
        TIDEGATE_RPC_CA: "",
        TIDEGATE_RPC_CERT: "",
        TIDEGATE_RPC_KEY: "",
        TIDEGATE_RPC_NAMES: "",
      }),
      /A node cannot be reached/,
      /A stranger was turned away.*TLS/,
    ],
    [
      "with a certificate of another authority",
      () => files("stranger", STRANGER_TLS).variables("RPC"),
      /A node cannot be reached.*(does it accept the certificate|ECONNRESET|EPIPE|none of the names)/,
      /A stranger was turned away.*(VERIFY|another authority|UNKNOWN|certificate)/i,
    ],
    [
      "with a certificate of none of the cluster's names",
      () => files("other", GATEWAY_TLS).variables("RPC"),
      /A node cannot be reached.*(does it accept the certificate|ECONNRESET|EPIPE)/,
      /A stranger was turned away.*none of the names of this cluster: it has DNS:gateway-1/,
    ],
    [
      "with another secret",
      () => ({ TIDEGATE_CLUSTER_SECRET: "another secret, just as long" }),
      /A node cannot be reached.*unauthorized/,
      /A stranger was turned away.*unauthorized/,
    ],
  ];
  for (const [i, [name, env, says, heard]] of strangers.entries()) {
    it(`does not let in a node ${name}, and both say why`, async () => {
      const before = await counting();
      const leader = (await coordinator.look(GROUP)).state?.leader?.node as string;
      const known = scripts.get(leader)?.output().length ?? 0;
      const stranger = start("broker", `stranger-${i}`, env());
      await comes(() => says.test(stranger.output()), "it says why it gets nowhere");
      await comes(
        () => heard.test(scripts.get(leader)?.output().slice(known) ?? ""),
        "so do others",
      );
      const once = stranger.output().match(/A node cannot be reached/g) ?? [];
      assert(once.length <= 3 * NODES.length, `it says so once:\n${stranger.output()}`);
      assert.deepEqual(await counting(), before, "nothing changed for the group");
      assert.deepEqual(await stranger.kill("SIGTERM"), { code: 0, signal: null });
    });
  }

  const without: [name: string, env: () => Env, says: RegExp][] = [
    ["certificate", () => ({ TIDEGATE_ETCD_CERT: "", TIDEGATE_ETCD_KEY: "" }), /coordinator/],
    [
      "name beside a user",
      () => files("named", GATEWAY_TLS).variables("ETCD"),
      /CommonName of client sending a request against gateway will be ignored/,
    ],
    ["password", () => ({ TIDEGATE_ETCD_PASSWORD: "no" }), /authentication failed|invalid user/],
  ];
  for (const [i, [name, env, says]] of without.entries()) {
    it(`waits, and says so, where etcd does not accept its ${name}`, async () => {
      const node = start("broker", `unknown-${i}`, env());
      await comes(() => /The coordinator does not answer/.test(node.output()), "it says so");
      assert.match(node.output(), says);
      assert(!node.output().includes(PASSWORD), "and keeps passwords to itself");
      assert.deepEqual(await node.kill("SIGTERM"), { code: 0, signal: null });
    });
  }

  it("does not start with files that are not what they should be", async () => {
    const { path } = files("node", BROKER_TLS);
    const wrong: [env: Env, says: RegExp][] = [
      [{ TIDEGATE_RPC_KEY: files("other", GATEWAY_TLS).path("key") }, /is not its key/],
      [{ TIDEGATE_RPC_CA: path("key") }, /Cannot use ".*node-key\.pem"/],
      [{ TIDEGATE_ETCD_CERT: join(folder, "nowhere.pem") }, /nowhere\.pem/],
    ];
    for (const [i, [env, says]] of wrong.entries()) {
      const script = start("broker", `wrong-${i}`, env);
      assert.equal((await script.exited).code, EXIT_CONFIG, script.output());
      assert.match(script.output(), says);
      assert(!script.output().includes("PRIVATE KEY"));
    }
  });
});
