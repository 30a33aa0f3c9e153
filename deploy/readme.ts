/**
 * `npm run readme`: writes the table of settings into the README.
 *
 * @module
 */

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { flagOf, SETTING_NAMES, SETTINGS, variableOf } from "../src/config.ts";

const README = join(import.meta.dirname, "..", "README.md");
const TABLE = /(<!-- settings: .* -->\n)[^]*?(<!-- end of settings -->)/;

/** `readme` with the table as it is today. */
export function withSettings(readme: string): string {
  return readme.replace(TABLE, (_all, begin: string, end: string) => `${begin}${table()}\n${end}`);
}

function table(): string {
  const rows = SETTING_NAMES.map((name) => {
    const flag = flagOf(name);
    const { about, fallback, commands } = SETTINGS[name];
    const isToggle = fallback === "true" || fallback === "false";
    const cells = [
      flag === undefined ? "–" : code(flag),
      code(variableOf(name)),
      fallback === "" || isToggle ? fallback : code(fallback),
      about,
      commands.map(code).join(", "),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return ["| flag | variable | default | | of |", "|---|---|---|---|---|", ...rows].join("\n");
}

function code(text: string): string {
  return `\`${text}\``;
}

if (import.meta.main) writeFileSync(README, withSettings(readFileSync(README, "utf8")));
