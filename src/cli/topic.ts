/**
 * `tidegate topic`: topics over HTTP.
 *
 * @module
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import { Client, type ClientOptions, segment, sending, withUrl } from "./client.ts";
import type { Terminal } from "./terminal.ts";

interface TopicFacts {
  readonly name: string;
  readonly queues: number;
  readonly messageType: string;
  readonly acks: string;
  readonly endOffsets: readonly string[];
}

interface CreateOptions extends ClientOptions {
  readonly queues?: number;
  readonly messageType?: string;
  readonly acks?: string;
  readonly retentionMs?: number;
  readonly retentionBytes?: number;
  readonly description?: string;
}

export function topicCommand(parent: Command, terminal: Terminal): void {
  const topic = parent.command("topic").description("list, show, create, purge and delete topics");

  withUrl(topic.command("list").description("list all topics"))
    .option("--json", "one JSON object a line")
    .action(async (options: ClientOptions & { json?: boolean }) => {
      const client = new Client(options, terminal);
      for await (const one of client.pages<TopicFacts>("/v1/topics", "topics")) {
        terminal.print(options.json ? JSON.stringify(one) : summary(one));
      }
    });

  withUrl(topic.command("get <topic>").description("show one topic as JSON")).action(
    async (name: string, options: ClientOptions) => {
      const found = await new Client(options, terminal).json(pathOf(name));
      terminal.print(JSON.stringify(found, undefined, 2));
    },
  );

  withUrl(topic.command("create <topic>").description("create a topic, or check that it is so"))
    .option("--queues <count>", "queues: the bound of ordered parallelism", wholeNumber)
    .addOption(
      new Option("--message-type <type>", "what it takes").choices(["mixed", "normal", "fifo"]),
    )
    .addOption(
      new Option("--acks <level>", "when a publish is answered").choices([
        "durable",
        "replicated",
        "leader",
      ]),
    )
    .option("--retention-ms <ms>", "how long messages are kept", wholeNumber)
    .option("--retention-bytes <bytes>", "how much is kept", wholeNumber)
    .option("--description <text>", "what it is for")
    .action(async (name: string, options: CreateOptions) => {
      const client = new Client(options, terminal);
      const response = await client.call(pathOf(name), sending("PUT", configOf(options)));
      await response.body?.cancel();
      terminal.print(response.status === 201 ? `created ${name}` : `${name} is so already`);
    });

  withUrl(
    topic.command("delete <topic>").description("delete a topic and all its messages"),
  ).action(async (name: string, options: ClientOptions) => {
    await new Client(options, terminal).call(pathOf(name), { method: "DELETE" });
    terminal.print(`deleted ${name}`);
  });

  withUrl(
    topic.command("purge <topic>").description("remove the messages stored in a topic now"),
  ).action(async (name: string, options: ClientOptions) => {
    const client = new Client(options, terminal);
    const path = `${pathOf(name)}/purge`;
    const { purged } = await client.json<{ purged: number }>(path, { method: "POST" });
    terminal.print(`removed ${purged}`);
  });
}

function pathOf(name: string): string {
  return `/v1/topics/${segment(name)}`;
}

function summary({ name, queues, messageType, acks, endOffsets }: TopicFacts): string {
  const messages = endOffsets.reduce((sum, end) => sum + BigInt(end), 0n);
  return `${name}  ${queues} queues  ${messageType}  ${acks}  ${messages} messages so far`;
}

/** Only what was said: the node knows the defaults. */
function configOf(options: CreateOptions): object {
  const { queues, messageType, acks, description, retentionMs, retentionBytes } = options;
  const retention = {
    ...(retentionMs !== undefined && { timeMs: retentionMs }),
    ...(retentionBytes !== undefined && { bytes: retentionBytes }),
  };
  return {
    ...(queues !== undefined && { queues }),
    ...(messageType !== undefined && { messageType }),
    ...(acks !== undefined && { acks }),
    ...(description !== undefined && { description }),
    ...(Object.keys(retention).length > 0 && { retention }),
  };
}

export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("Expected a whole number.");
  return Number(text);
}
