/**
 * Settings: where they come from, what is refused, and that the table in the
 * README is the table in the code.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Config,
  ConfigError,
  flagOf,
  isLoopback,
  readConfig,
  SETTING_NAMES,
  type Sources,
  variableOf,
} from "../src/config.ts";

const read = (sources: Partial<Sources>) => readConfig({ flags: {}, env: {}, ...sources });

describe("readConfig()", () => {
  it("gives every setting its default", () => {
    assert.deepEqual(read({}), {
      host: "127.0.0.1",
      port: 8080,
      dataDir: "./data",
      apiKeys: [],
      insecure: false,
      behindProxy: false,
      tlsCert: "",
      tlsKey: "",
      corsOrigins: [],
      autoCreate: true,
      delayMax: 40 * 86_400_000,
      retentionMax: 7 * 86_400_000,
      segmentBytes: 67_108_864,
      diskHigh: 85,
      diskFull: 95,
      diskReserve: 67_108_864,
      idempotencyWindow: 86_400_000,
      scrubInterval: 7 * 86_400_000,
      waitersMax: 10_000,
      webhookAllowPrivate: false,
      logLevel: "info",
      logFormat: "text",
      cluster: "tidegate",
      etcd: ["http://127.0.0.1:2379"],
      etcdUser: "",
      etcdPassword: "",
      etcdCa: "",
      etcdCert: "",
      etcdKey: "",
      clusterSecret: "",
      rpcCa: "",
      rpcCert: "",
      rpcKey: "",
      rpcNames: [],
      group: "",
      node: "",
      rpcHost: "127.0.0.1",
      rpcPort: 9870,
      advertise: "",
      adminPort: "",
      minSync: 2,
      catchUpRate: 67_108_864,
    } satisfies Config);
  });

  it("gives a value nobody can change", () => {
    assert(Object.isFrozen(read({})));
  });

  it("takes a variable over the default and a flag over the variable", () => {
    const env = { TIDEGATE_PORT: "9000", TIDEGATE_DATA_DIR: "/srv/log" };
    const { port, dataDir } = read({ env, flags: { port: "9001" } });
    assert.deepEqual({ port, dataDir }, { port: 9001, dataDir: "/srv/log" });
  });

  it("takes an empty variable for one that is not set", () => {
    assert.equal(read({ env: { TIDEGATE_PORT: "" } }).port, 8080);
  });

  it("leaves other variables alone, and those of the client commands", () => {
    const env = { PATH: "/bin", TIDEGATE_URL: "http://h", TIDEGATE_API_KEY: "k" };
    assert.equal(read({ env }).port, 8080);
  });

  const readable: [variable: string, text: string, name: keyof Config, value: unknown][] = [
    ["TIDEGATE_DELAY_MAX", "90s", "delayMax", 90_000],
    ["TIDEGATE_DELAY_MAX", "15m", "delayMax", 900_000],
    ["TIDEGATE_DELAY_MAX", "12h", "delayMax", 43_200_000],
    ["TIDEGATE_DELAY_MAX", "365d", "delayMax", 31_536_000_000],
    ["TIDEGATE_SEGMENT_BYTES", "67108864", "segmentBytes", 67_108_864],
    ["TIDEGATE_SEGMENT_BYTES", "64MiB", "segmentBytes", 67_108_864],
    ["TIDEGATE_SEGMENT_BYTES", "1GiB", "segmentBytes", 1_073_741_824],
    ["TIDEGATE_IDEMPOTENCY_WINDOW", "90s", "idempotencyWindow", 90_000],
    ["TIDEGATE_IDEMPOTENCY_WINDOW", "15m", "idempotencyWindow", 900_000],
    ["TIDEGATE_IDEMPOTENCY_WINDOW", "30d", "idempotencyWindow", 2_592_000_000],
    ["TIDEGATE_AUTO_CREATE", "false", "autoCreate", false],
    ["TIDEGATE_INSECURE", "1", "insecure", true],
    ["TIDEGATE_WEBHOOK_ALLOW_PRIVATE", "true", "webhookAllowPrivate", true],
    ["TIDEGATE_PORT", "0", "port", 0],
    ["TIDEGATE_API_KEYS", "one, two,", "apiKeys", ["one", "two"]],
    ["TIDEGATE_CORS_ORIGINS", "*", "corsOrigins", ["*"]],
    ["TIDEGATE_CORS_ORIGINS", "https://a.example", "corsOrigins", ["https://a.example"]],
    ["TIDEGATE_LOG_FORMAT", "json", "logFormat", "json"],
  ];
  for (const [variable, text, name, value] of readable) {
    it(`reads ${variable}=${text}`, () => {
      assert.deepEqual(read({ env: { [variable]: text } })[name], value);
    });
  }

  const refused: [env: Record<string, string>, message: RegExp][] = [
    [{ TIDEGATE_PORT: "65536" }, /Cannot read TIDEGATE_PORT "65536": expected a whole number/],
    [{ TIDEGATE_PORT: "1e3" }, /expected a whole number from 0 to 65535/],
    [{ TIDEGATE_PORT: " 80" }, /expected a whole number/],
    [{ TIDEGATE_SEGMENT_BYTES: "1MiB" }, /expected 33554432 to/],
    [{ TIDEGATE_SEGMENT_BYTES: "64MB" }, /KiB, MiB or GiB/],
    [{ TIDEGATE_IDEMPOTENCY_WINDOW: "24" }, /a number with s, m, h or d/],
    [{ TIDEGATE_IDEMPOTENCY_WINDOW: "31d" }, /expected 1s to 30d/],
    [{ TIDEGATE_AUTO_CREATE: "maybe" }, /expected true or false/],
    [{ TIDEGATE_CORS_ORIGINS: "https://a.example/path" }, /expected origins/],
    [{ TIDEGATE_LOG_LEVEL: "loud" }, /"debug"\|"info"\|"warn"\|"error"/],
    [{ TIDEGATE_DATADIR: "/x" }, /TIDEGATE_DATADIR: did you mean TIDEGATE_DATA_DIR\?/],
    [{ TIDEGATE_API_KEYZ: "k" }, /TIDEGATE_API_KEYZ: did you mean TIDEGATE_API_KEYS\?/],
    [{ TIDEGATE_SOMETHING_ELSE: "x" }, /Unknown variable TIDEGATE_SOMETHING_ELSE$/],
  ];
  for (const [env, message] of refused) {
    it(`refuses ${JSON.stringify(env)}`, () => {
      assert.throws(() => read({ env }), { name: "ConfigError", message });
    });
  }

  it("names the flag when the flag is wrong", () => {
    assert.throws(() => read({ flags: { port: "no" } }), /Cannot read --port "no"/);
  });

  it("tells all that is wrong at once", () => {
    const env = { TIDEGATE_PORT: "x", TIDEGATE_WAITERS_MAX: "0", TIDEGATE_PROT: "1" };
    assert.throws(
      () => read({ env }),
      (error: unknown) => error instanceof ConfigError && error.message.split("\n").length === 3,
    );
  });

  it("never repeats a secret", () => {
    const env = { TIDEGATE_API_KEYS: "se cret" };
    assert.throws(
      () => read({ env }),
      (error: unknown) => error instanceof ConfigError && !error.message.includes("cret"),
    );
  });
});

describe("readConfig() of a broker", () => {
  const broker = (env: Record<string, string>) => () =>
    readConfig({ command: "broker", flags: { group: "g1", node: "n1" }, env });

  const refused: [name: string, env: Record<string, string>, message: RegExp][] = [
    ["without a proof", { TIDEGATE_RPC_HOST: "0.0.0.0" }, /without a proof of who they are/],
    ["a short secret", { TIDEGATE_CLUSTER_SECRET: "short" }, /expected 16 characters at least/],
    ["a part of its TLS", { TIDEGATE_RPC_CA: "ca.pem" }, /give all three/],
    ["half a certificate for etcd", { TIDEGATE_ETCD_CERT: "c" }, /--etcd-cert and --etcd-key/],
    ["a user of etcd alone", { TIDEGATE_ETCD_USER: "u" }, /--etcd-user and TIDEGATE_ETCD_PASSWORD/],
    ["names without certificates", { TIDEGATE_RPC_NAMES: "a.example" }, /without --rpc-ca/],
    ["what is no name", { TIDEGATE_RPC_NAMES: "*.example" }, /expected DNS names/],
    ["what is no URL of etcd", { TIDEGATE_ETCD: "h:2379" }, /expected http/],
    ["what is no address", { TIDEGATE_ADVERTISE: "h" }, /expected host:port/],
  ];
  for (const [name, env, message] of refused) {
    it(`refuses ${name}`, () => assert.throws(broker(env), message));
  }

  const taken: [name: string, env: Record<string, string>][] = [
    ["a secret", { TIDEGATE_CLUSTER_SECRET: "sixteen letters!" }],
    ["TLS", { TIDEGATE_RPC_CA: "a", TIDEGATE_RPC_CERT: "b", TIDEGATE_RPC_KEY: "c" }],
    ["an operator's word", { TIDEGATE_INSECURE: "true" }],
  ];
  for (const [name, env] of taken) {
    it(`answers off loopback with ${name}`, () => {
      assert.equal(broker({ TIDEGATE_RPC_HOST: "0.0.0.0", ...env })().rpcHost, "0.0.0.0");
    });
  }

  it("needs a group and a node", () => {
    const nameless = () => readConfig({ command: "broker", flags: {}, env: {} });
    assert.throws(nameless, /give --group and --node/);
  });

  it("leaves keys of clients to gateways", () => {
    assert.equal(broker({ TIDEGATE_HOST: "0.0.0.0" })().node, "n1");
  });
});

describe("readConfig() off loopback", () => {
  const env = { TIDEGATE_HOST: "0.0.0.0" };

  it("refuses to serve strangers without a key", () => {
    assert.throws(() => read({ env }), /without authentication: set TIDEGATE_API_KEYS/);
  });

  it("refuses empty keys, too", () => {
    assert.throws(() => read({ env: { ...env, TIDEGATE_API_KEYS: " , " } }), ConfigError);
  });

  it("serves with a key, or when told to do without", () => {
    assert.equal(read({ env: { ...env, TIDEGATE_API_KEYS: "k" } }).host, "0.0.0.0");
    assert.equal(read({ env, flags: { insecure: "true" } }).host, "0.0.0.0");
  });
});

describe("isLoopback()", () => {
  const hosts: [host: string, loopback: boolean][] = [
    ["127.0.0.1", true],
    ["127.1.2.3", true],
    ["::1", true],
    ["localhost", true],
    ["0.0.0.0", false],
    ["::", false],
    ["127.0.0.1.example.com", false],
    ["localhost.example.com", false],
    ["192.168.0.1", false],
  ];
  for (const [host, loopback] of hosts) {
    it(`says ${loopback} of ${host}`, () => assert.equal(isLoopback(host), loopback));
  }
});

describe("the names of a setting", () => {
  it("are made of one word", () => {
    assert.equal(variableOf("dataDir"), "TIDEGATE_DATA_DIR");
    assert.equal(flagOf("dataDir"), "--data-dir <path>");
    assert.equal(flagOf("insecure"), "--insecure");
    assert.equal(flagOf("autoCreate"), "--no-auto-create");
  });

  it("have no flag for a secret", () => assert.equal(flagOf("apiKeys"), undefined));

  it("are told apart from each other", () => {
    const variables = SETTING_NAMES.map(variableOf);
    assert.equal(new Set(variables).size, variables.length);
  });
});
