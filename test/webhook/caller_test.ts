/**
 * Check-backs over real sockets, to targets that answer: what is sent, where
 * the connection goes, and what is believed.
 *
 * @module
 */

import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { hmac } from "../../storage/base/hmac_node.ts";
import { keyOf, signatureHeaders } from "../../src/webhook/signature.ts";
import { TEST_AUTHORITY } from "../fakes/test_certificate.ts";
import { answering, failedWith, httpsTarget, httpTarget, kit, refusedWith, until } from "./kit.ts";

const toLoopback = async () => ["127.0.0.1"];

describe("a check-back", () => {
  for (const decision of ["commit", "rollback", "unknown"]) {
    it(`brings ${decision} home`, async () => {
      await using target = await httpTarget(answering(decision));
      const answer = await kit().ask(`http://127.0.0.1:${target.port}/check`);
      assert.deepEqual(answer, { kind: "decision", decision });
    });
  }

  it("is a signed POST to the path and the name of the URL", async () => {
    const seen: { head: string; body: string; headers: Record<string, unknown> }[] = [];
    await using target = await httpTarget((request, response) => {
      let body = "";
      request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
      request.on("end", () => {
        seen.push({ head: `${request.method} ${request.url}`, body, headers: request.headers });
        response.end('{"decision":"commit"}');
      });
    });
    const secret = `whsec_${btoa("a key of twenty-four bytes")}`;
    const { ask, clock } = kit({ resolve: toLoopback });
    await ask(`http://hook.example:${target.port}/check?of=orders`, { secret, checkNumber: 4 });
    const [{ head, body, headers } = assert.fail("nothing arrived")] = seen;
    assert.equal(head, "POST /check?of=orders");
    assert.equal(headers["host"], `hook.example:${target.port}`);
    assert.equal(headers["content-type"], "application/json");
    assert.equal(headers["connection"], "close");
    const { data } = JSON.parse(body) as { data: object };
    const messages = [{ id: "m1", topic: "orders" }];
    assert.deepEqual(data, {
      transactionId: "tx1",
      producerGroup: "pay",
      checkNumber: 4,
      messages,
    });
    const signed = { id: "tx1-4", now: clock.now(), body: new TextEncoder().encode(body) };
    const expected = signatureHeaders(signed, { key: keyOf(secret), hmac });
    for (const [name, value] of Object.entries(expected)) assert.equal(headers[name], value);
  });

  it("reaches an IPv6 address", async () => {
    await using target = await httpTarget(answering("commit"), "::1");
    const answer = await kit().ask(`http://[::1]:${target.port}/`);
    assert.equal(answer.kind, "decision");
  });

  it("leaves no connection open", async () => {
    await using target = await httpTarget(answering("commit"));
    const { ask } = kit();
    for (let round = 0; round < 3; round++) await ask(`http://127.0.0.1:${target.port}/`);
    assert.equal(target.connections, 3);
    await until(() => target.open.size === 0, "all connections are closed");
  });

  it("goes by no proxy of the environment", async () => {
    await using target = await httpTarget(answering("commit"));
    await using proxy = await httpTarget(answering("rollback"));
    const names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"];
    for (const name of names) process.env[name] = `http://127.0.0.1:${proxy.port}`;
    try {
      const { ask } = kit({ resolve: toLoopback });
      const answer = await ask(`http://hook.example:${target.port}/`);
      assert.deepEqual(answer, { kind: "decision", decision: "commit" });
      assert.equal(proxy.connections, 0);
    } finally {
      for (const name of names) Reflect.deleteProperty(process.env, name);
    }
  });
});

describe("a check-back over TLS", () => {
  it("takes a certificate for the name, though it connects to an address", async () => {
    await using target = await httpsTarget((request, response) => {
      const { servername } = request.socket as { servername?: string };
      const decision = servername === "hook.example" ? "commit" : "rollback";
      response.end(JSON.stringify({ decision }));
    });
    const { ask } = kit({ resolve: toLoopback, authorities: TEST_AUTHORITY });
    for (const host of ["hook.example", "hook.example."]) {
      const answer = await ask(`https://${host}:${target.port}/`);
      assert.deepEqual(answer, { kind: "decision", decision: "commit" });
    }
  });

  it("takes a certificate for an address", async () => {
    await using target = await httpsTarget(answering("commit"));
    const { ask } = kit({ authorities: TEST_AUTHORITY });
    const answer = await ask(`https://127.0.0.1:${target.port}/`);
    assert.deepEqual(answer, { kind: "decision", decision: "commit" });
  });

  it("tells nothing to who has a certificate for another name", async () => {
    let requests = 0;
    await using target = await httpsTarget(() => void requests++);
    const { ask } = kit({ resolve: toLoopback, authorities: TEST_AUTHORITY });
    const answer = await ask(`https://other.example:${target.port}/`);
    failedWith(answer, /^cannot talk to it: ERR_TLS_CERT_ALTNAME_INVALID$/);
    assert.equal(requests, 0);
  });

  it("tells nothing to who has a certificate of nobody it trusts", async () => {
    let requests = 0;
    await using target = await httpsTarget(() => void requests++);
    const answer = await kit({ resolve: toLoopback }).ask(`https://hook.example:${target.port}/`);
    failedWith(answer, /^cannot talk to it: UNABLE_TO_VERIFY_LEAF_SIGNATURE$/);
    assert.equal(requests, 0);
  });
});

describe("a check-back to a place that is not public", () => {
  const hosts = ["127.0.0.1", "localhost", "127.1", "0x7f.1", "2130706433", "0.0.0.0"];
  for (const host of hosts) {
    it(`is refused without a packet: ${host}`, async () => {
      await using target = await httpsTarget(answering("commit"));
      let resolved = 0;
      const { ask } = kit({ allowPrivate: false, resolve: async () => [`${resolved++}`] });
      refusedWith(await ask(`https://${host}:${target.port}/`), /^the URL leads to/);
      assert.deepEqual([target.connections, resolved], [0, 0]);
    });
  }

  for (const host of ["[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "192.168.0.1", "[fd00::1]"]) {
    it(`is refused by its text: ${host}`, async () => {
      const answer = await kit({ allowPrivate: false }).ask(`https://${host}:8443/`);
      refusedWith(answer, /^the URL leads to a (loopback|private) address$/);
    });
  }

  const answers: readonly (readonly [addresses: string[], reason: RegExp])[] = [
    [["127.0.0.1"], /loopback/],
    [["8.8.8.8", "127.0.0.1"], /loopback/],
    [["2606:4700::1111", "8.8.8.8", "::ffff:10.0.0.1"], /private/],
    [["169.254.169.254"], /link-local/],
    [["8.8.8.8", "not an address"], /not an IP address/],
    [["::1"], /loopback/],
    [["fe80::1%eth0"], /not an IP address/],
  ];
  for (const [addresses, reason] of answers) {
    it(`is refused when any address of its name is one: ${addresses.join(", ")}`, async () => {
      await using target = await httpsTarget(answering("commit"));
      const { ask } = kit({ allowPrivate: false, resolve: async () => addresses });
      const answer = await ask(`https://hook.example:${target.port}/`);
      refusedWith(answer, reason);
      assert.equal(target.connections, 0);
    });
  }

  it("is refused by the operating system's answer for a name", async () => {
    // Not `localhost` to the text; the resolver says 127.0.0.1 of it, or that there is none.
    await using target = await httpsTarget(answering("commit"));
    const answer = await kit({ allowPrivate: false }).ask(`https://ip6-localhost:${target.port}/`);
    assert.notEqual(answer.kind, "decision");
    assert.equal(target.connections, 0);
  });

  it("is refused for metadata, also where private places are allowed", async () => {
    const { ask } = kit({ resolve: async () => ["127.0.0.1", "169.254.169.254"] });
    refusedWith(await ask("http://169.254.169.254/latest"), /link-local/);
    refusedWith(await ask("http://metadata.example/"), /link-local/);
  });

  it("is refused in plain http and for other schemes", async () => {
    const { ask } = kit({ allowPrivate: false, resolve: async () => ["8.8.8.8"] });
    for (const url of ["http://hook.example/", "file:///etc/passwd", "nonsense"]) {
      refusedWith(await ask(url), /^the URL /);
    }
  });
});

describe("a name that changes its address", () => {
  it("is asked at the address that was judged, and judged again next time", async () => {
    await using target = await httpTarget(answering("commit"));
    const answers = [["127.0.0.1"], ["169.254.169.254"]];
    let resolved = 0;
    const resolve = async () => answers[resolved++] ?? [];
    const { ask } = kit({ resolve });
    const url = `http://rebinding.example:${target.port}/`;
    assert.equal((await ask(url)).kind, "decision");
    assert.deepEqual([resolved, target.connections], [1, 1]);
    refusedWith(await ask(url), /link-local/);
    assert.deepEqual([resolved, target.connections], [2, 1]);
  });

  it("is not looked up behind the judge's back", async () => {
    // The system knows `localhost`, so a connection by name would succeed.
    await using target = await httpTarget(answering("commit"));
    const { ask } = kit({ resolve: async () => ["127.0.0.9"] });
    failedWith(await ask(`http://localhost:${target.port}/`), /ECONNREFUSED/);
    assert.equal(target.connections, 0);
  });

  it("is asked at its second address when nobody is at the first", async () => {
    await using target = await httpTarget(answering("commit"));
    const { ask } = kit({ resolve: async () => ["127.0.0.9", "127.0.0.1"] });
    const answer = await ask(`http://hook.example:${target.port}/`);
    assert.equal(answer.kind, "decision");
  });
});

describe("a secret that cannot be read", () => {
  it("is told, and nothing is sent unsigned", async () => {
    await using target = await httpTarget(answering("commit"));
    const answer = await kit().ask(`http://127.0.0.1:${target.port}/`, { secret: "whsec_?" });
    refusedWith(answer, /^the secret cannot be read$/);
    assert.equal(target.connections, 0);
  });
});
