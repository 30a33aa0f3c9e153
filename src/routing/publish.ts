/**
 * Publishing to a cluster, a message or a batch at a time; where each goes is in sending.ts.
 *
 * A batch is split by broker group, and the answers are put together again in order. One
 * that is atomic is of one broker group, or it is refused: nothing is atomic over several.
 *
 * @module
 */

import { TidegateError } from "../../storage/base/errors.ts";
import type { MessagesApi, NewMessage, Published } from "../broker/api.ts";
import { unitFault } from "../broker/placing.ts";
import { type Cluster, isMoved, overSeveralGroups } from "./cluster.ts";
import type { TopicDefinition } from "./definition.ts";
import { isAway } from "./members.ts";
import { fixedGroup, isFull, isRecognised, Sender } from "./sending.ts";

type Publishing = Pick<MessagesApi, "publish" | "publishBatch">;
type Results = readonly (Published | TidegateError)[];

/** A batch that goes to one broker group, with the places of its messages in the whole. */
interface Part {
  readonly places: readonly number[];
  readonly messages: readonly NewMessage[];
}

export class Publisher implements Publishing {
  readonly #cluster: Cluster;
  readonly #sender: Sender;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#sender = new Sender(cluster);
  }

  /** Mostly without a detour: what is known is used, and the message sent in this turn. */
  publish(name: string, message: NewMessage): Promise<Published> {
    const { definitions, copies, members, clock } = this.#cluster;
    const copy = copyOf(message);
    const topic = definitions.peek("topic", name);
    if (!topic) return this.#send(name, copy);
    const group = fixedGroup(topic, copy) ?? this.#sender.next(topic);
    const broker = copies.has(topic, group) ? members.leader(group) : undefined;
    if (!broker) return this.#send(name, copy);
    const sentAt = clock.elapsed();
    return broker.messages.publish(name, copy).then(
      (published) => {
        this.#sender.answered(group, sentAt);
        return published;
      },
      (error: unknown) => {
        if (!(error instanceof TidegateError)) throw error;
        members.lost(group, broker, error);
        return this.#again(name, { message: copy, group, error });
      },
    );
  }

  /** The first try failed: whether there may be another. */
  async #again(
    name: string,
    first: { readonly message: NewMessage; readonly group: number; readonly error: TidegateError },
  ): Promise<Published> {
    const { message, group, error } = first;
    if (isAway(error)) this.#sender.failed(group);
    const unknown = error.code === "outcome-unknown";
    const mayHelp = isAway(error) || isMoved(error) || isFull(error);
    if (!mayHelp || (unknown && !isRecognised(message))) throw error;
    try {
      return await this.#send(name, message);
    } catch (later) {
      if (unknown && later instanceof TidegateError && isAway(later)) throw error; // it still is
      throw later;
    }
  }

  #send(name: string, message: NewMessage): Promise<Published> {
    return this.#sender.send(name, {
      fixed: (topic) => fixedGroup(topic, message),
      fault: () => this.#sender.faultOf(message),
      repeatable: isRecognised(message),
      send: ({ messages }) => messages.publish(name, message),
    });
  }

  async publishBatch(
    name: string,
    given: readonly NewMessage[],
    options: { readonly atomic: boolean },
  ): Promise<Results> {
    const messages = given.map(copyOf);
    if (options.atomic) return await this.#sendPart(name, { messages, atomic: true });
    const topic = await this.#cluster.definitions.find("topic", name);
    const parts = topic ? partsOf(topic, messages) : [];
    if (parts.length <= 1) return await this.#sendPart(name, { messages, atomic: false });
    const answers = await Promise.all(parts.map((part) => this.#partOrError(name, part.messages)));
    const results = together(messages.length, { parts, answers });
    const [first] = results;
    // Nothing of it was stored, nor will be: that is an answer about the whole.
    if (first instanceof TidegateError && results.every(isRefused)) throw first;
    return results;
  }

  /** What goes to one broker group, as long as the topic is what it was when it was split. */
  async #sendPart(
    name: string,
    part: { readonly messages: readonly NewMessage[]; readonly atomic: boolean },
  ): Promise<Results> {
    const { messages, atomic } = part;
    const split = new Split();
    try {
      return await this.#sender.send(name, {
        fixed: (topic) => (atomic ? oneGroup(topic, messages) : split.orGroup(topic, messages)),
        fault: () => this.#faultOf(messages, atomic),
        repeatable: messages.every(isRecognised),
        send: (broker) => broker.messages.publishBatch(name, messages, { atomic }),
      });
    } catch (error) {
      if (error === split) return await this.publishBatch(name, messages, { atomic });
      if (error === HOPELESS) return messages.map((one) => this.#sender.faultOf(one) ?? HOPELESS);
      throw error;
    }
  }

  /** Of a batch whose messages each have a fault nothing is stored, and no topic made. */
  #faultOf(messages: readonly NewMessage[], atomic: boolean): TidegateError | undefined {
    const faults = messages.map((message) => this.#sender.faultOf(message));
    const first = faults.find((fault) => fault !== undefined);
    if (atomic) return first ?? unitFault("publish the batch atomically", messages);
    return faults.every((fault) => fault !== undefined) ? HOPELESS : undefined;
  }

  async #partOrError(name: string, messages: readonly NewMessage[]): Promise<Results> {
    try {
      return await this.#sendPart(name, { messages, atomic: false });
    } catch (error) {
      if (error instanceof TidegateError) return messages.map(() => error);
      throw error;
    }
  }
}

function isRefused(result: Published | TidegateError): boolean {
  return "code" in result && result.code === "unavailable";
}

const HOPELESS = new TidegateError("message-too-large", "Cannot publish any message of the batch");

/** Thrown where a batch that was of one broker group turns out to be of several. */
class Split extends Error {
  override readonly name = "Split";

  orGroup(topic: TopicDefinition, messages: readonly NewMessage[]): number | undefined {
    const [group, ...others] = new Set(messages.map((message) => fixedGroup(topic, message)));
    if (others.length > 0) throw this;
    return group;
  }
}

/** The caller may write over the body when the call has returned, and it may be sent later, or again. */
function copyOf(message: NewMessage): NewMessage {
  return { ...message, body: message.body.slice() };
}

/** What may go anywhere is dealt out, so that a batch fills queues as single messages do. */
function partsOf(topic: TopicDefinition, messages: readonly NewMessage[]): readonly Part[] {
  const parts = new Map<string, { places: number[]; messages: NewMessage[] }>();
  let dealt = 0;
  for (const [place, message] of messages.entries()) {
    const group = fixedGroup(topic, message);
    const name = group === undefined ? `any ${dealt++ % topic.groups.length}` : `to ${group}`;
    const part = parts.get(name) ?? { places: [], messages: [] };
    parts.set(name, part);
    part.places.push(place);
    part.messages.push(message);
  }
  return [...parts.values()];
}

/** Of a batch that must stay together; undefined: any. @throws `not-implemented` */
function oneGroup(topic: TopicDefinition, messages: readonly NewMessage[]): number | undefined {
  const fixed = new Set(messages.map((message) => fixedGroup(topic, message)));
  fixed.delete(undefined);
  const [first] = fixed;
  // Places in a sequence have one key or none: the broker says so, wherever it is.
  if (fixed.size <= 1 || messages.some(({ producer }) => producer !== undefined)) return first;
  throw overSeveralGroups("publish the batch atomically", "atomic batch over broker groups");
}

function together(
  count: number,
  { parts, answers }: { readonly parts: readonly Part[]; readonly answers: readonly Results[] },
): Results {
  const results = Array.from<Published | TidegateError>({ length: count });
  for (const [at, { places }] of parts.entries()) {
    for (const [i, place] of places.entries()) {
      results[place] = answers[at]?.[i] as Published | TidegateError;
    }
  }
  return results;
}
