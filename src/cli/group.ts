/**
 * `tidegate group`: consumer groups over HTTP. What they do with messages is in
 * `group_operations.ts`.
 *
 * @module
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import { Client, type ClientOptions, sending, withUrl } from "./client.ts";
import { groupOperations, groupPath } from "./group_operations.ts";
import type { Terminal } from "./terminal.ts";
import { wholeNumber } from "./topic.ts";

interface Subscription {
  readonly topic: string;
  readonly filter?: { readonly tag: string } | { readonly sql: string };
}

interface GroupFacts {
  readonly name: string;
  readonly subscriptions: readonly Subscription[];
  readonly mode: string;
  readonly paused: boolean;
}

interface PutOptions extends ClientOptions {
  readonly subscribe?: readonly Subscription[];
  readonly tag?: readonly Subscription[];
  readonly sql?: readonly Subscription[];
  readonly mode?: string;
  readonly leaseMs?: number;
  readonly maxAttempts?: number;
  readonly startFrom?: string;
  readonly maxInFlight?: number;
}

const EXAMPLES = `
Examples:
  tidegate group put billing --subscribe orders --mode ordered
  tidegate group put alerts --tag 'orders=failed || late' --sql 'bills=amount > 500'
  tidegate group seek billing orders time:2026-11-22T08:00:00Z
  tidegate group redrive billing --id 1Yt3RkQV1StGXR8_Z5jdH`;

export function groupCommand(parent: Command, terminal: Terminal): void {
  const group = parent
    .command("group")
    .description("consumer groups: what they are, where they stand, what they gave up on")
    .addHelpText("after", EXAMPLES);

  withUrl(group.command("list").description("list all consumer groups"))
    .option("--json", "one JSON object a line")
    .action(async (options: ClientOptions & { json?: boolean }) => {
      const client = new Client(options, terminal);
      for await (const one of client.pages<GroupFacts>("/v1/groups", "groups")) {
        terminal.print(options.json ? JSON.stringify(one) : summary(one));
      }
    });

  withUrl(group.command("show <group>").description("show one group as JSON")).action(
    async (name: string, options: ClientOptions) => {
      const found = await new Client(options, terminal).json(groupPath(name));
      terminal.print(JSON.stringify(found, undefined, 2));
    },
  );

  putCommand(group, terminal);

  withUrl(
    group.command("delete <group>").description("delete a group; its receipts become lost"),
  ).action(async (name: string, options: ClientOptions) => {
    await new Client(options, terminal).call(groupPath(name), { method: "DELETE" });
    terminal.print(`deleted ${name}`);
  });

  groupOperations(group, terminal);
}

function putCommand(group: Command, terminal: Terminal): void {
  withUrl(group.command("put <group>").description("create a group, or check that it is so"))
    .option("--subscribe <topic>", "read all of a topic; may be repeated", collectTopic)
    .option("--tag <topic=tags>", "read of a topic what has one of the tags (a || b)", collectTag)
    .option("--sql <topic=sql>", "read of a topic what the SQL is true for", collectSql)
    .addOption(
      new Option("--mode <mode>", "keep the order of keys or not").choices([
        "concurrent",
        "ordered",
      ]),
    )
    .option("--lease-ms <ms>", "how long a consumer has to settle", wholeNumber)
    .option("--max-attempts <count>", "deliveries until a message is dead", wholeNumber)
    .addOption(
      new Option("--start-from <place>", "where it begins").choices(["latest", "earliest"]),
    )
    .option("--max-in-flight <count>", "leases at once", wholeNumber)
    .action(async (name: string, options: PutOptions) => {
      const client = new Client(options, terminal);
      const response = await client.call(groupPath(name), sending("PUT", configOf(options)));
      await response.body?.cancel();
      terminal.print(response.status === 201 ? `created ${name}` : `${name} is so already`);
    });
}

function summary({ name, subscriptions, mode, paused }: GroupFacts): string {
  const topics = subscriptions.map(({ topic, filter }) => (filter ? `${topic} (filtered)` : topic));
  return `${name}  ${mode}  ${topics.join(", ")}${paused ? "  paused" : ""}`;
}

/** Only what was said: the node knows the defaults. */
function configOf(options: PutOptions): object {
  const { subscribe = [], tag = [], sql = [], url: _, ...rest } = options;
  return { subscriptions: [...subscribe, ...tag, ...sql], ...rest };
}

function collectTopic(topic: string, before: readonly Subscription[] = []) {
  return [...before, { topic }];
}

function collectTag(text: string, before: readonly Subscription[] = []) {
  const { topic, rest } = splitTopic(text);
  return [...before, { topic, filter: { tag: rest } }];
}

function collectSql(text: string, before: readonly Subscription[] = []) {
  const { topic, rest } = splitTopic(text);
  return [...before, { topic, filter: { sql: rest } }];
}

function splitTopic(text: string): { topic: string; rest: string } {
  const at = text.indexOf("=");
  if (at > 0) return { topic: text.slice(0, at), rest: text.slice(at + 1) };
  throw new InvalidArgumentError("Expected topic=filter.");
}
