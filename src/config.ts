/**
 * Every setting of a node: one table, one reading, one frozen value.
 *
 * The table makes the flags of `tidegate serve`, the `TIDEGATE_*` variables,
 * the lines of `--help` and the table in the README. A flag wins over its
 * variable, the variable over the default; an empty variable counts as unset.
 * An unknown `TIDEGATE_` name is an error, so that a misspelt setting is never
 * ignored.
 *
 * A setting exists only where two deployments need two values; everything else
 * is a constant beside the code it governs.
 *
 * @module
 */

import * as z from "zod";
import { nearest } from "./cli/nearest.ts";

const MiB = 1024 * 1024;
const DAY_MS = 86_400_000;

interface Setting<Schema extends z.ZodType> {
  /** Reads the text of a flag or variable. */
  readonly schema: Schema;
  /** As one would write it. */
  readonly fallback: string;
  /** What the value is, for `--flag <value>`; absent for a switch. */
  readonly value?: string;
  readonly about: string;
  /** Only a variable: arguments can be read by everyone on the machine. */
  readonly secret?: true;
}

function setting<Schema extends z.ZodType>(schema: Schema, facts: Omit<Setting<Schema>, "schema">) {
  return { schema, ...facts };
}

const text = z.string().min(1);
const optionalPath = z.string();
const toggle = z.stringbool({ error: "expected true or false" });
const port = integer({ min: 0, max: 65_535 });

function integer({ min, max }: { min: number; max: number }) {
  const expected = `expected a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,15}$/, expected)
    .transform(Number)
    .refine((value) => value >= min && value <= max, expected);
}

/** `134217728`, or with a unit: `128MiB`. */
function bytes({ min, max }: { min: number; max: number }) {
  const units = { "": 1, KiB: 1024, MiB, GiB: 1024 * MiB };
  return z
    .string()
    .regex(/^\d{1,12}(KiB|MiB|GiB)?$/, "expected bytes, or a number with KiB, MiB or GiB")
    .transform((value) => {
      const [, count, unit = ""] = /^(\d+)(.*)$/.exec(value) ?? [];
      return Number(count) * units[unit as keyof typeof units];
    })
    .refine((value) => value >= min && value <= max, `expected ${min} to ${max} bytes`);
}

const SECOND_MS = 1000;

/** `90s`, `15m`, `24h` or `7d`; gives milliseconds. */
function duration({ minMs, maxMs }: { minMs: number; maxMs: number }) {
  const units = { s: SECOND_MS, m: 60 * SECOND_MS, h: 3600 * SECOND_MS, d: DAY_MS };
  return z
    .string()
    .regex(/^\d{1,9}[smhd]$/, "expected a number with s, m, h or d")
    .transform((value) => Number(value.slice(0, -1)) * units[value.at(-1) as keyof typeof units])
    .refine((value) => value >= minMs && value <= maxMs, {
      error: `expected ${minMs / SECOND_MS}s to ${maxMs / DAY_MS}d`,
    });
}

function list(item: z.ZodType<string, string>) {
  return z
    .string()
    .transform((value) =>
      value
        .split(",")
        .map((one) => one.trim())
        .filter(Boolean),
    )
    .pipe(z.array(item));
}

const apiKey = z.string().regex(/^[\x21-\x7e]+$/, "a key is visible ASCII without spaces");
const origin = z
  .string()
  .refine(
    (value) => value === "*" || (URL.canParse(value) && new URL(value).origin === value),
    "expected origins such as https://app.example, or *",
  );

export const SETTINGS = {
  host: setting(text, {
    fallback: "127.0.0.1",
    value: "address",
    about: "Address to listen on; any but loopback needs API keys or `--insecure`",
  }),
  port: setting(port, {
    fallback: "8080",
    value: "number",
    about: "Port to listen on; 0 takes a free one",
  }),
  dataDir: setting(text, {
    fallback: "./data",
    value: "path",
    about: "Directory of the commit log; one node, one directory",
  }),
  apiKeys: setting(list(apiKey), {
    fallback: "",
    value: "keys",
    about: "Keys that clients send as `Authorization: Bearer <key>`, comma separated",
    secret: true,
  }),
  insecure: setting(toggle, {
    fallback: "false",
    about: "Serve everyone who can reach the address, without API keys",
  }),
  behindProxy: setting(toggle, {
    fallback: "false",
    about: "A proxy in front cuts off slow clients; on Deno this serves with the faster Deno.serve",
  }),
  tlsCert: setting(optionalPath, {
    fallback: "",
    value: "file",
    about: "Serve over TLS with this certificate (PEM, with its chain); read again when it changes",
  }),
  tlsKey: setting(optionalPath, {
    fallback: "",
    value: "file",
    about: "Its private key (PEM); both files are read again at SIGHUP, too",
  }),
  corsOrigins: setting(list(origin), {
    fallback: "",
    value: "origins",
    about: "Origins whose pages may call the node, comma separated, or `*`",
  }),
  autoCreate: setting(toggle, {
    fallback: "true",
    about: "Create a topic at its first publish or subscription",
  }),
  delayMax: setting(duration({ minMs: SECOND_MS, maxMs: 3650 * DAY_MS }), {
    fallback: "40d",
    value: "duration",
    about: "The longest a message may be delayed",
  }),
  retentionMax: setting(duration({ minMs: SECOND_MS, maxMs: 3650 * DAY_MS }), {
    fallback: "7d",
    value: "duration",
    about: "The longest a message is kept, whatever its topic says",
  }),
  segmentBytes: setting(bytes({ min: 32 * MiB, max: 1024 * MiB }), {
    fallback: "128MiB",
    value: "size",
    about: "Size at which a segment of the commit log is sealed",
  }),
  diskHigh: setting(integer({ min: 1, max: 100 }), {
    fallback: "85",
    value: "percent",
    about: "So much of the file system in use is a warning, in `/readyz`, the log and the metrics",
  }),
  diskFull: setting(integer({ min: 1, max: 100 }), {
    fallback: "95",
    value: "percent",
    about: "From so much on publishes are answered 507, and consumers go on",
  }),
  diskReserve: setting(bytes({ min: 0, max: 1024 * MiB }), {
    fallback: "64MiB",
    value: "size",
    about:
      "Set aside so that consumers, deletes and purges go on when others fill the disk; at most a hundredth of it",
  }),
  idempotencyWindow: setting(duration({ minMs: SECOND_MS, maxMs: 30 * DAY_MS }), {
    fallback: "24h",
    value: "duration",
    about: "How long an `Idempotency-Key` is remembered: `90s`, `15m`, `24h`, `7d`",
  }),
  scrubInterval: setting(duration({ minMs: SECOND_MS, maxMs: 365 * DAY_MS }), {
    fallback: "7d",
    value: "duration",
    about: "In which all that is stored is read once, to find damage while it is young",
  }),
  waitersMax: setting(integer({ min: 1, max: 1_000_000 }), {
    fallback: "10000",
    value: "count",
    about: "Long-polls and streams held open at once; more are refused with 503",
  }),
  webhookAllowPrivate: setting(toggle, {
    fallback: "false",
    about: "Let check-backs go to loopback and private addresses, and over plain http",
  }),
  logLevel: setting(z.enum(["debug", "info", "warn", "error"]), {
    fallback: "info",
    value: "level",
    about: "Least level to log: debug (every request), info, warn or error",
  }),
  logFormat: setting(z.enum(["text", "json"]), {
    fallback: "text",
    value: "format",
    about: "How to log to stderr: text (in colour on a terminal), or json for one object a line",
  }),
} as const satisfies Record<string, Setting<z.ZodType>>;

export type SettingName = keyof typeof SETTINGS;
export type Config = Readonly<{
  [Name in SettingName]: z.output<(typeof SETTINGS)[Name]["schema"]>;
}>;

export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

/** Variables that the client commands read; a node leaves them alone. */
export const CLIENT_VARIABLES = { url: "TIDEGATE_URL", apiKey: "TIDEGATE_API_KEY" } as const;

/** The configuration cannot be what was meant; the message says where and why, a line each. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** `dataDir` → `TIDEGATE_DATA_DIR` */
export function variableOf(name: SettingName): string {
  return `TIDEGATE_${name.replaceAll(/[A-Z]/g, "_$&").toUpperCase()}`;
}

/** `dataDir` → `--data-dir`; a switch that is on by default → `--no-…`; none for a secret. */
export function flagOf(name: SettingName): string | undefined {
  const { secret, value, fallback }: Setting<z.ZodType> = SETTINGS[name];
  if (secret) return undefined;
  const word = name.replaceAll(/[A-Z]/g, "-$&").toLowerCase();
  if (value !== undefined) return `--${word} <${value}>`;
  return fallback === "true" ? `--no-${word}` : `--${word}`;
}

export interface Sources {
  /** Settings given as flags, as text. */
  readonly flags: Readonly<Partial<Record<SettingName, string>>>;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads the configuration.
 *
 * @throws {ConfigError} when a value does not fit its setting, a `TIDEGATE_`
 * variable is unknown, or the node would serve strangers without a key.
 */
export function readConfig({ flags, env }: Sources): Config {
  const problems = unknownVariables(env);
  const entries = SETTING_NAMES.map((name) => {
    const { input, from } = find(name, { flags, env });
    const result = SETTINGS[name].schema.safeParse(input);
    if (result.success) return [name, result.data];
    const { secret }: Setting<z.ZodType> = SETTINGS[name];
    const reason = result.error.issues.map((issue) => issue.message).join("; ");
    problems.push(`Cannot read ${from}${secret ? "" : ` "${input}"`}: ${reason}`);
    return [name, undefined];
  });
  if (problems.length > 0) throw new ConfigError(problems.join("\n"));
  const config = Object.fromEntries(entries) as Config;
  refuseOpenDoor(config);
  refuseHalfCertificate(config);
  return Object.freeze(config);
}

function find(name: SettingName, { flags, env }: Sources): { input: string; from: string } {
  const flag = flags[name];
  if (flag !== undefined) return { input: flag, from: flagOf(name)?.split(" ")[0] ?? name };
  const variable = variableOf(name);
  return { input: env[variable] || SETTINGS[name].fallback, from: variable };
}

function unknownVariables(env: Sources["env"]): string[] {
  const known = [...SETTING_NAMES.map(variableOf), ...Object.values(CLIENT_VARIABLES)];
  return Object.keys(env)
    .filter((name) => name.startsWith("TIDEGATE_") && !known.includes(name))
    .map((name) => {
      const meant = nearest(name, known);
      return `Unknown variable ${name}${meant ? `: did you mean ${meant}?` : ""}`;
    });
}

function refuseOpenDoor({ host, apiKeys, insecure }: Config): void {
  if (isLoopback(host) || apiKeys.length > 0 || insecure) return;
  throw new ConfigError(
    `Cannot serve on ${host} without authentication: set ${variableOf("apiKeys")}, ` +
      `or pass --insecure to serve everyone who can reach the address`,
  );
}

function refuseHalfCertificate({ tlsCert, tlsKey }: Config): void {
  if ((tlsCert === "") === (tlsKey === "")) return;
  throw new ConfigError("Cannot serve over TLS with one of --tls-cert and --tls-key: give both");
}

/** Whether only this machine can connect to `host`. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
