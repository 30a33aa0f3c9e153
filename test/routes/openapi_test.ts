/**
 * The contract against the routes: what the document says, the gateway does.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { contract, toYaml } from "../../routes/mod.ts";
import { CODES, type ErrorCode } from "../../storage/base/errors.ts";
import { STATUS } from "../../routes/problem.ts";
import { type JsonObject, TestGateway } from "../fakes/gateway.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const document = JSON.parse(JSON.stringify(contract("0.0.0"))) as JsonObject;
const METHODS = ["get", "put", "post", "patch", "delete", "head"];

const operations = Object.entries(document["paths"] as JsonObject).flatMap(([path, item]) =>
  Object.entries(item as JsonObject)
    .filter(([method]) => METHODS.includes(method))
    .map(([method, operation]) => ({ path, method, operation: operation as JsonObject })),
);

const resolve = (value: JsonObject): JsonObject => {
  const reference = value["$ref"] as string | undefined;
  if (reference === undefined) return value;
  return reference
    .slice(2)
    .split("/")
    .reduce<JsonObject>((at, part) => at[part] as JsonObject, document);
};

describe("openapi.yaml", () => {
  it("is what the routes say", async () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as JsonObject;
    const written = parse(readFileSync(join(ROOT, "openapi.yaml"), "utf8")) as unknown;
    const wanted = parse(await toYaml(contract(manifest["version"] as string))) as unknown;
    assert.deepEqual(written, wanted, "run deploy/openapi.ts");
  });
});

describe("the contract", () => {
  it("is OpenAPI 3.1 with every operation named once", () => {
    assert.equal(document["openapi"], "3.1.0");
    const ids = operations.map(({ operation }) => operation["operationId"] as string);
    assert.equal(new Set(ids).size, ids.length);
    assert.deepEqual(ids.toSorted(), [
      "beginTransaction",
      "commitTransaction",
      "deleteGroup",
      "deleteProducerGroup",
      "deleteTopic",
      "getCluster",
      "getGroup",
      "getHealth",
      "getLag",
      "getMessage",
      "getMetrics",
      "getProducerGroup",
      "getReadiness",
      "getTopic",
      "getTransaction",
      "headMessages",
      "headStream",
      "listConsumers",
      "listDeadLetters",
      "listGroups",
      "listProducerGroups",
      "listTopics",
      "listTransactions",
      "patchGroup",
      "patchProducerGroup",
      "patchTopic",
      "pauseGroup",
      "peekMessages",
      "publishBatch",
      "publishMessage",
      "purgeDeadLetters",
      "purgeTopic",
      "putGroup",
      "putProducerGroup",
      "putTopic",
      "readMessages",
      "recallMessage",
      "receiveChecks",
      "receiveMessages",
      "redriveDeadLetters",
      "resumeGroup",
      "rollbackTransaction",
      "searchMessages",
      "seekGroup",
      "settleMessages",
      "streamLeases",
      "streamTopics",
      "traceMessage",
    ]);
  });

  for (const { path, method, operation } of operations) {
    it(`has a route for ${method} ${path}`, async () => {
      const gateway = new TestGateway();
      const response = await gateway.ask(path.replaceAll(/\{\w+\}/g, "x"), { method: "OPTIONS" });
      const allow = response.headers.get("allow")?.split(", ") ?? [];
      assert(allow.includes(method.toUpperCase()), String(allow));
    });

    it(`has problems with examples for ${method} ${path}`, () => {
      const failures = Object.entries(operation["responses"] as JsonObject).filter(
        ([status, response]) => Number(status) >= 400 && "$ref" in (response as JsonObject),
      );
      assert(failures.length > 0);
      for (const [status, reference] of failures) {
        const content = resolve(reference as JsonObject)["content"] as JsonObject;
        const { schema, examples } = content["application/problem+json"] as JsonObject;
        assert.equal(schema.$ref, "#/components/schemas/Problem");
        for (const [code, example] of Object.entries(examples as JsonObject)) {
          const { value } = resolve(example as JsonObject);
          assert.equal(value.code, code);
          assert.equal(String(value.status), status);
          assert.equal(STATUS[code as ErrorCode], Number(status));
        }
      }
    });
  }

  it("names every code some operation may answer with", () => {
    const named = Object.keys(document["components"]["examples"] as JsonObject);
    // The router's own: they belong to no operation.
    const routers = ["not-found", "method-not-allowed"];
    assert.deepEqual([...named, ...routers].toSorted(), Object.keys(CODES).toSorted());
  });

  it("asks for a key everywhere but where anybody may look", () => {
    assert.deepEqual(document["security"], [{ bearer: [] }]);
    const open = operations.filter(({ operation }) => operation["security"]?.length === 0);
    assert.deepEqual(open.map(({ path }) => path).toSorted(), ["/healthz", "/readyz"]);
  });
});

describe("the documentation", () => {
  it("is served as JSON and as YAML, and both are the contract", async () => {
    const gateway = new TestGateway();
    const json = await gateway.ask("/openapi.json");
    assert.equal(json.headers.get("content-type"), "application/json");
    assert.deepEqual(await json.json(), document);
    const yaml = await gateway.ask("/openapi.yaml");
    assert.equal(yaml.headers.get("content-type"), "application/yaml");
    assert.deepEqual(parse(await yaml.text()), document);
  });

  const asset = (name: string) =>
    Promise.resolve(name.startsWith("swagger-ui") ? new TextEncoder().encode(name) : undefined);

  it("loads nothing from elsewhere and has no inline script", async () => {
    const gateway = new TestGateway({ assets: asset });
    const response = await gateway.ask("/docs");
    assert.match(response.headers.get("content-security-policy") ?? "", /script-src 'self';/);
    const page = await response.text();
    assert.doesNotMatch(page, /https?:|\/\/[a-z]/i);
    assert.doesNotMatch(page, /<script(?![^>]* src=)/);
    const paths = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => String(path));
    assert(paths.includes("/docs/swagger-ui-bundle.js"));
    for (const path of paths) {
      if (path === "/docs/favicon-32x32.png") continue; // the assets above have none
      assert.equal((await gateway.ask(path)).status, 200, path);
    }
  });

  it("serves the files it knows, and no other", async () => {
    const gateway = new TestGateway({ assets: asset });
    const css = await gateway.ask("/docs/swagger-ui.css");
    assert.equal(css.headers.get("content-type"), "text/css; charset=utf-8");
    assert.equal(await css.text(), "swagger-ui.css");
    for (const name of ["package.json", "swagger-ui.js", "..%2Fpackage.json", "__proto__"]) {
      assert.equal((await gateway.ask(`/docs/${name}`)).status, 404, name);
    }
    assert.equal((await new TestGateway().ask("/docs/swagger-ui.css")).status, 404);
  });
});
