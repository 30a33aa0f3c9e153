/**
 * Both coordinators keep to their suite; the one in etcd over a real etcd, which
 * is also stopped for a while, made to ask for a password, and spoken to over TLS.
 *
 * @module
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { clearTimeout, setImmediate, setTimeout } from "node:timers";
import { ManualClock } from "../../storage/base/clock_manual.ts";
import { systemClock } from "../../storage/base/clock_node.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { EmbeddedCoordinator } from "../../src/cluster/coordinator_embedded.ts";
import { EtcdCoordinator } from "../../src/cluster/coordinator_etcd.ts";
import { EtcdClient, type EtcdCredentials } from "../../src/cluster/etcd_client.ts";
import { openEtcdTransport } from "../../src/cluster/etcd_transport_node.ts";
import { foundingState } from "../../src/cluster/group_state.ts";
import { type EtcdServer, startEtcd } from "../fakes/etcd_server.ts";
import { needs } from "../fakes/needs.ts";
import { TEST_AUTHORITY, TEST_CERTIFICATE, TEST_KEY } from "../fakes/test_certificate.ts";
import { type OpenedCoordinator, testCoordinator } from "../suites/coordinator.ts";

const skip = needs("etcd");
const A = { node: "a", boot: "a1", disk: "da" };
const STATE = foundingState(A, 1);

async function openEmbedded(): Promise<OpenedCoordinator> {
  const clock = new ManualClock();
  const coordinator = new EmbeddedCoordinator(clock);
  return {
    coordinator,
    other: () => coordinator,
    elapsed: () => clock.elapsed(),
    async pause(ms) {
      clock.advance(ms);
      await new Promise((resolve) => setImmediate(resolve));
    },
    close: () => coordinator.close(),
  };
}

testCoordinator({ name: "embedded", skip: false, open: openEmbedded });

let etcd: EtcdServer;
let clusters = 0;

function connect(
  server: EtcdServer,
  options: { cluster: string; credentials?: EtcdCredentials; urls?: readonly string[] },
): EtcdCoordinator {
  const transport = openEtcdTransport({ urls: options.urls ?? [server.url], callMs: 2000 });
  const client = new EtcdClient(transport, options.credentials);
  return new EtcdCoordinator(client, { clock: systemClock, cluster: options.cluster });
}

async function openEtcd(): Promise<OpenedCoordinator> {
  const cluster = `test-${++clusters}`;
  const opened = [connect(etcd, { cluster })];
  return {
    coordinator: opened[0] as EtcdCoordinator,
    other() {
      const another = connect(etcd, { cluster });
      opened.push(another);
      return another;
    },
    elapsed: () => systemClock.elapsed(),
    pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    async close() {
      for (const one of opened) await one.close();
    },
  };
}

describe("over a real etcd", { skip }, () => {
  before(async () => {
    if (!skip) etcd = await startEtcd();
  });
  after(async () => {
    if (!skip) await etcd.stop();
  });

  testCoordinator({ name: "etcd", skip, open: openEtcd });

  describe("EtcdCoordinator", () => {
    it("goes on to the endpoint that answers", { skip }, async () => {
      const urls = ["http://127.0.0.1:1", etcd.url];
      const coordinator = connect(etcd, { cluster: "endpoints", urls });
      assert.equal((await coordinator.found("g", STATE)).kind, "done");
      assert.equal((await coordinator.look("g")).state?.epoch, 0);
      await coordinator.close();
    });

    it("does not see another cluster's", { skip }, async () => {
      const [one, other] = [connect(etcd, { cluster: "x" }), connect(etcd, { cluster: "xy" })];
      await other.found("g", STATE);
      await other.define({ kind: "topic", name: "t", value: "1", revision: 0 });
      assert.equal((await one.look("g")).state, undefined);
      assert.deepEqual(await one.definitions({ kind: "topic", after: "", limit: 9 }), []);
      await one.close();
      await other.close();
    });

    it("says that the outcome is unknown when etcd is silent, and then goes on", {
      skip,
    }, async () => {
      const server = await startEtcd();
      const coordinator = connect(server, { cluster: "silent" });
      const patient = setTimeout(() => server.signal("SIGCONT"), 20_000); // should the test fail
      try {
        assert.equal((await coordinator.found("g", STATE)).kind, "done");
        const leases: { until: number; fresh: boolean }[] = [];
        coordinator.live("g", A, { onLease: (lease) => leases.push(lease) });
        await until(() => leases.length > 0);
        server.signal("SIGSTOP");
        const swap = { revision: 1, state: STATE, alive: [], gone: undefined };
        const unknown = (error: unknown) =>
          error instanceof TidegateError && error.code === "outcome-unknown";
        await assert.rejects(coordinator.swap("g", swap), unknown);
        const last = leases.at(-1)?.until ?? 0;
        await until(() => systemClock.elapsed() > last);
        assert(systemClock.elapsed() > (leases.at(-1)?.until ?? 0), "it knows that it ran out");
        server.signal("SIGCONT");
        await until(() => (leases.at(-1)?.until ?? 0) > systemClock.elapsed());
        await until(async () => (await coordinator.look("g")).live.length === 1);
      } finally {
        clearTimeout(patient);
        server.signal("SIGCONT");
        await coordinator.close();
        await server.stop();
      }
    });

    it("says that nothing was made when nobody listens", { skip }, async () => {
      const coordinator = connect(etcd, { cluster: "none", urls: ["http://127.0.0.1:1"] });
      await assert.rejects(coordinator.look("g"), (error: unknown) => {
        return error instanceof TidegateError && error.details["refused"] === true;
      });
      await coordinator.close();
    });

    it("speaks TLS, with the authority it was given and no other", { skip }, async () => {
      const folder = mkdtempSync(join(tmpdir(), "tidegate-etcd-tls-"));
      writeFileSync(join(folder, "cert.pem"), TEST_CERTIFICATE);
      writeFileSync(join(folder, "key.pem"), TEST_KEY);
      const files = [
        "--cert-file",
        join(folder, "cert.pem"),
        "--key-file",
        join(folder, "key.pem"),
      ];
      const server = await startEtcd({ scheme: "https", more: files });
      const over = (authorities?: string) => {
        const transport = openEtcdTransport({ urls: [server.url], authorities });
        return new EtcdCoordinator(new EtcdClient(transport), { clock: systemClock, cluster: "t" });
      };
      const [trusting, other] = [over(TEST_AUTHORITY), over()];
      try {
        await until(async () => {
          return trusting.look("g").then(
            ({ revision }) => revision === 0,
            () => false, // it listens before it is ready
          );
        });
        assert.equal((await trusting.found("g", STATE)).kind, "done");
        let hints = 0;
        trusting.watch("g", () => void hints++);
        await until(() => hints > 0);
        await assert.rejects(other.look("g"), TidegateError);
      } finally {
        await trusting.close();
        await other.close();
        await server.stop();
        rmSync(folder, { recursive: true });
      }
    });

    it("has a password, and takes a new token when the old one is gone", { skip }, async () => {
      const server = await startEtcd({ more: ["--auth-token-ttl", "1"] });
      const admin = openEtcdTransport({ urls: [server.url] });
      try {
        const root = { name: "root", password: "secret" };
        await until(async () => {
          try {
            await admin.call("/v3/auth/user/add", root);
            return true;
          } catch {
            return false; // it listens before it is ready
          }
        });
        await admin.call("/v3/auth/role/add", { name: "root" });
        await admin.call("/v3/auth/user/grant", { user: "root", role: "root" });
        await admin.call("/v3/auth/enable", {});
        const nobody = connect(server, { cluster: "c" });
        await assert.rejects(nobody.look("g"), TidegateError);
        await nobody.close();
        const wrong = connect(server, {
          cluster: "c",
          credentials: { user: "root", password: "x" },
        });
        await assert.rejects(wrong.look("g"), TidegateError);
        await wrong.close();
        const credentials = { user: "root", password: "secret" };
        const coordinator = connect(server, { cluster: "c", credentials });
        assert.equal((await coordinator.found("g", STATE)).kind, "done");
        await new Promise((resolve) => setTimeout(resolve, 2500)); // the token's life, and a sweep
        assert.equal((await coordinator.look("g")).state?.epoch, 0);
        await coordinator.close();
      } finally {
        admin.close();
        await server.stop();
      }
    });
  });
});

async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  for (let waited = 0; !(await holds()); waited += 20) {
    assert(waited < 15_000, "it comes to hold");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
