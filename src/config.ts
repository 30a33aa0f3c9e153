/**
 * The configuration of a node: one reading of the table of settings, one frozen value.
 *
 * A flag wins over its variable, the variable over the default; an empty variable
 * counts as unset. An unknown `TIDEGATE_` name is an error, so that a misspelt setting
 * is never ignored; one of another command is left alone.
 *
 * @module
 */

import type * as z from "zod";
import { nearest } from "./cli/nearest.ts";
import { type NodeCommand, type Setting, SETTINGS } from "./settings.ts";

export { type NodeCommand, SETTINGS } from "./settings.ts";

export type SettingName = keyof typeof SETTINGS;
export type Config = Readonly<{
  [Name in SettingName]: z.output<(typeof SETTINGS)[Name]["schema"]>;
}>;

export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

/** Those of one command. */
export function settingsOf(command: NodeCommand): readonly SettingName[] {
  return SETTING_NAMES.filter((name) => {
    const { commands }: Setting<z.ZodType> = SETTINGS[name];
    return commands.includes(command);
  });
}

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
  /** Whose settings they are; `serve` when absent. */
  readonly command?: NodeCommand | undefined;
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
export function readConfig({ command = "serve", flags, env }: Sources): Config {
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
  if (command === "broker" || command === "elect") refuseNameless(config);
  if (command === "broker") refuseOpenRpc(config);
  if (command === "serve" || command === "gateway") refuseOpenDoor(config);
  refuseHalves(config);
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

function refuseNameless({ group, node }: Config): void {
  if (group !== "" && node !== "") return;
  throw new ConfigError("Cannot do without names: give --group and --node");
}

function refuseOpenRpc({ rpcHost, clusterSecret, rpcCa, insecure }: Config): void {
  if (isLoopback(rpcHost) || clusterSecret !== "" || rpcCa !== "" || insecure) return;
  throw new ConfigError(
    `Cannot answer nodes on ${rpcHost} without a proof of who they are: set ` +
      `${variableOf("clusterSecret")}, give --rpc-ca, --rpc-cert and --rpc-key, or pass --insecure`,
  );
}

function refuseHalves(config: Config): void {
  const { tlsCert, tlsKey, etcdCert, etcdKey, etcdUser, etcdPassword } = config;
  if ((tlsCert === "") !== (tlsKey === "")) {
    throw new ConfigError("Cannot serve over TLS with one of --tls-cert and --tls-key: give both");
  }
  const rpc = [config.rpcCa, config.rpcCert, config.rpcKey].filter((file) => file !== "");
  if (rpc.length === 1 || rpc.length === 2) {
    throw new ConfigError(
      "Cannot use a part of --rpc-ca, --rpc-cert and --rpc-key: give all three",
    );
  }
  if (config.rpcNames.length > 0 && rpc.length === 0) {
    throw new ConfigError("Cannot use --rpc-names without --rpc-ca, --rpc-cert and --rpc-key");
  }
  if ((etcdCert === "") !== (etcdKey === "")) {
    throw new ConfigError("Cannot use one of --etcd-cert and --etcd-key: give both");
  }
  if ((etcdUser === "") !== (etcdPassword === "")) {
    throw new ConfigError(
      `Cannot use one of --etcd-user and ${variableOf("etcdPassword")}: give both`,
    );
  }
}

/** Whether only this machine can connect to `host`. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
