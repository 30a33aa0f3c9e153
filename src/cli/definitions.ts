/**
 * `tidegate export` and `tidegate import`: what topics, producer groups and
 * consumer groups there are and how they are set up, as one JSON document; no
 * messages, no positions, no secrets.
 *
 *   {"topics": [{"name", …}], "producerGroups": [{"name", …}], "groups": [{"name", …}]}
 *
 * An import brings a node to what the document says, one definition after the
 * other, and takes nothing away; again it changes nothing. What a definition does
 * not say stays as it is, or gets the node's default.
 *
 * @module
 */

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import type { Command } from "commander";
import { Client, type ClientOptions, segment, sending, withUrl } from "./client.ts";
import { CliError, EXIT } from "./exit.ts";
import type { Terminal } from "./terminal.ts";

interface Kind {
  /** In the document, and in the pages of the node. */
  readonly member: string;
  readonly path: string;
  /** As people call one. */
  readonly word: string;
}

/** Groups last: they subscribe to topics. */
const KINDS: readonly Kind[] = [
  { member: "topics", path: "/v1/topics", word: "topic" },
  { member: "producerGroups", path: "/v1/producers", word: "producer group" },
  { member: "groups", path: "/v1/groups", word: "group" },
];

/** What a node says of a definition, beside what it was told. */
const TOLD_BY_NODE = new Set([
  "name",
  "generation",
  "createdAt",
  "endOffsets",
  "paused",
  "checkSecretSet",
]);

type Definition = Readonly<Record<string, unknown>> & { readonly name: string };

const ABOUT_EXPORT = `
Messages, positions and secrets are not in it: see tidegate backup for all of a node.`;

const ABOUT_IMPORT = `
From a file, or from standard input. Says of each definition whether it was
created, changed, unchanged or refused. Exit code 0: all is as it says; 65: some
were refused, the others are done.`;

export function definitionCommands(parent: Command, terminal: Terminal): void {
  withUrl(parent.command("export").description("print all definitions of a node as JSON"))
    .addHelpText("after", ABOUT_EXPORT)
    .action(async (options: ClientOptions) => {
      const found = await exportFrom(new Client(options, terminal));
      terminal.print(JSON.stringify(found, undefined, 2));
    });

  withUrl(parent.command("import [file]").description("bring a node to the definitions in a file"))
    .addHelpText("after", ABOUT_IMPORT)
    .action(async (file: string | undefined, options: ClientOptions) => {
      const text = file === undefined || file === "-" ? await inputOf(terminal) : readText(file);
      await importInto(new Client(options, terminal), { wanted: parse(text), terminal });
    });
}

async function exportFrom(client: Client): Promise<Record<string, Definition[]>> {
  const found: Record<string, Definition[]> = {};
  for (const { member, path } of KINDS) {
    found[member] = [];
    for await (const one of client.pages<Definition>(path, member)) {
      const secret = one["checkSecretSet"] === true && { checkSecretSet: true };
      found[member].push({ name: one.name, ...configOf(one), ...secret });
    }
  }
  return found;
}

function configOf(definition: Definition): Record<string, unknown> {
  return Object.fromEntries(Object.entries(definition).filter(([key]) => !TOLD_BY_NODE.has(key)));
}

async function inputOf(terminal: Terminal): Promise<string> {
  return new TextDecoder().decode(await terminal.input());
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new CliError("noInput", `Cannot read "${file}": ${(error as Error).message}`, error);
  }
}

/** @throws {CliError} `usage` when it is not such a document. */
function parse(text: string): ReadonlyMap<Kind, readonly Definition[]> {
  const document = jsonIn(text);
  const unknown = Object.keys(document).filter(
    (key) => !KINDS.some(({ member }) => member === key),
  );
  if (unknown.length > 0) throw unfit(`it has "${unknown[0]}", which is no kind of definition`);
  return new Map(KINDS.map((kind) => [kind, definitionsIn(document, kind)]));
}

function jsonIn(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw unfit((error as Error).message);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw unfit("it is no JSON object");
}

function definitionsIn(document: Record<string, unknown>, { member }: Kind): readonly Definition[] {
  const list = document[member] ?? [];
  const named = (one: unknown) => typeof (one as { name?: unknown } | null)?.name === "string";
  if (Array.isArray(list) && list.every(named)) return list as readonly Definition[];
  throw unfit(`"${member}" is no list of definitions with names`);
}

function unfit(reason: string): CliError {
  return new CliError("usage", `Cannot import the definitions: ${reason}`);
}

async function importInto(
  client: Client,
  about: { readonly wanted: ReadonlyMap<Kind, readonly Definition[]>; readonly terminal: Terminal },
): Promise<void> {
  let refused = 0;
  for (const [kind, definitions] of about.wanted) {
    for (const definition of definitions) {
      const outcome = await bring(client, kind, definition).catch(refusalOf);
      if (outcome.startsWith("refused")) refused++;
      const [word, ...reason] = outcome.split(": ");
      const why = reason.length > 0 ? `: ${reason.join(": ")}` : "";
      about.terminal.print(`${word} ${kind.word} ${definition.name}${why}`);
    }
  }
  if (refused === 0) return;
  throw new CliError("refused", `${refused} definitions were refused, the others are done`);
}

/** What one definition came to: created, changed or unchanged. @throws what the node says */
async function bring(client: Client, kind: Kind, definition: Definition): Promise<string> {
  const path = `${kind.path}/${segment(definition.name)}`;
  const config = configOf(definition);
  const known = await find(client, path);
  if (!known) {
    await client.json(path, sending("PUT", config));
    return definition["checkSecretSet"] === true ? "created: without its secret" : "created";
  }
  const differs = ([key, value]: [string, unknown]) => !isDeepStrictEqual(known[key], value);
  const change = Object.fromEntries(Object.entries(config).filter(differs));
  if (Object.keys(change).length === 0) return "unchanged";
  await client.json(path, sending("PATCH", change));
  return "changed";
}

async function find(client: Client, path: string): Promise<Definition | undefined> {
  try {
    return await client.json<Definition>(path);
  } catch (error) {
    if (error instanceof CliError && error.exitCode === EXIT.negative.code) return undefined;
    throw error;
  }
}

/** One that is refused is told, and others go on; without a node, or a key for it, nothing does. */
function refusalOf(error: unknown): string {
  if (!(error instanceof CliError) || error.exitCode !== EXIT.refused.code) throw error;
  return `refused: ${error.message}`;
}
