import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { STATUS } from "../../routes/problem.ts";
import { CODES, type ErrorCode } from "../../storage/base/errors.ts";
import { problem, TestGateway } from "../fakes/gateway.ts";

describe("a path nobody has", () => {
  for (const path of [
    "/",
    "/v1",
    "/v2/topics",
    "/v1/topics/",
    "/v1/topics/a/b",
    "/problems",
    "/v1//topics",
  ]) {
    it(`${path} is a 404 problem`, async () => {
      const gateway = new TestGateway();
      const body = await problem(await gateway.ask(path), { status: 404, code: "not-found" });
      assert.equal(body["instance"], path);
      await problem(await gateway.ask(path, { method: "OPTIONS" }), {
        status: 404,
        code: "not-found",
      });
    });
  }
});

describe("a method a path does not take", () => {
  const cases: [path: string, method: string, allow: string][] = [
    ["/v1/topics", "POST", "GET, HEAD, OPTIONS"],
    ["/v1/topics/a", "POST", "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"],
    ["/v1/topics/a/messages", "PUT", "GET, POST, HEAD, OPTIONS"],
    ["/v1/topics/a/messages/batch", "PUT", "GET, POST, DELETE, HEAD, OPTIONS"],
    ["/v1/groups/g/receive", "GET", "POST, OPTIONS"],
    ["/healthz", "DELETE", "GET, HEAD, OPTIONS"],
    ["/v1/topics", "PROPFIND", "GET, HEAD, OPTIONS"],
  ];
  for (const [path, method, allow] of cases) {
    it(`${method} ${path} is a 405 problem with Allow`, async () => {
      const gateway = new TestGateway();
      const response = await gateway.ask(path, { method });
      assert.equal(response.headers.get("allow"), allow);
      await problem(response, { status: 405, code: "method-not-allowed" });
    });

    it(`OPTIONS ${path} says what it takes, for ${method}`, async () => {
      const response = await new TestGateway().ask(path, { method: "OPTIONS" });
      assert.equal(response.status, 204);
      assert.equal(response.headers.get("allow"), allow);
    });
  }
});

describe("GET /problems/{code}", () => {
  for (const code of Object.keys(CODES) as ErrorCode[]) {
    it(`explains ${code} to people`, async () => {
      const response = await new TestGateway().ask(`/problems/${code}`);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "text/html; charset=utf-8");
      assert.match(response.headers.get("content-security-policy") ?? "", /default-src 'none'/);
      const page = await response.text();
      assert(page.includes(`HTTP status ${STATUS[code]}`));
      assert.match(page, /<title>[^<]+ · Tidegate<\/title>/);
      assert.match(page, CODES[code].retryable ? /Yes: the same request/ : /Not unchanged/);
    });
  }

  it("explains nothing else", async () => {
    for (const code of ["nonsense", "__proto__", "constructor"]) {
      const response = await new TestGateway().ask(`/problems/${code}`);
      await problem(response, { status: 404, code: "not-found" });
    }
  });
});
