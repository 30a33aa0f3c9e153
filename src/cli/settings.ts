/**
 * The settings of a command that runs a node, as flags of it.
 *
 * @module
 */

import type { Command } from "commander";
import {
  type Config,
  flagOf,
  type NodeCommand,
  readConfig,
  SETTINGS,
  type SettingName,
  settingsOf,
  variableOf,
} from "../config.ts";

/** A flag for each setting that has one. */
export function addSettings(command: Command, of: NodeCommand): void {
  for (const name of settingsOf(of)) {
    const flag = flagOf(name);
    if (flag !== undefined) command.option(flag, helpFor(name));
    else command.addHelpText("after", `  ${variableOf(name)}: ${SETTINGS[name].about}`);
  }
}

/** @throws {ConfigError} */
export function configOf(
  command: Command,
  from: {
    readonly command: NodeCommand;
    readonly env: Readonly<Record<string, string | undefined>>;
  },
): Config {
  return readConfig({ ...from, flags: flagsOf(command, from.command) });
}

/** One line of `--help`: what the setting is, its variable, its default. */
function helpFor(name: SettingName): string {
  const { about, fallback } = SETTINGS[name];
  const on = fallback === "true";
  const said = on ? `Do not ${about.charAt(0).toLowerCase()}${about.slice(1)}` : about;
  const value = on || fallback === "false" || fallback === "" ? "" : `, default ${fallback}`;
  return `${said.replaceAll("`", "")} (${variableOf(name)}${value})`;
}

/** What was said on the command line, as text; defaults are the configuration's business. */
function flagsOf(command: Command, of: NodeCommand): Partial<Record<SettingName, string>> {
  return Object.fromEntries(
    settingsOf(of)
      .filter((name) => command.getOptionValueSource(name) === "cli")
      .map((name) => [name, String(command.getOptionValue(name))]),
  );
}
