/**
 * Broker groups serve by copies of definitions; who gives them these.
 *
 * Consumer groups and producer groups are everywhere, whatever they subscribe to, so
 * that a topic made later finds its groups waiting for it; topics are where their
 * queues are. A consumer group counts as made when every broker group has it: where a
 * message is published next, it must be known already who is to get it. A topic is given
 * to a broker group before this gateway first uses it there: one that was away may still
 * have an earlier topic of that name, and what is stored in that goes with it.
 *
 * A broker group that is new gets all consumer groups and producer groups before the
 * first topic is placed on it: whoever makes such a group writes it first and asks then
 * what broker groups there are, and whoever places a topic knows the broker group first
 * and asks then what consumer groups there are, so one of them sees the other.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { DefinitionCopy } from "../broker/api.ts";
import { copyFor, type Definition, goneCopy, type TopicDefinition } from "./definition.ts";
import type { Definitions } from "./definitions.ts";
import type { Members } from "./members.ts";
import type { StoredKind } from "./ports.ts";

/** What is gone is told in the background until it is heard, of so many things at once. */
const PENDING_MAX = 10_000;
/** Topics of which it is remembered who has them. */
const HAVE_MAX = 200_000;
const PENDING_MS = 5000;

export class Copies {
  readonly #members: Members;
  readonly #definitions: Definitions;
  readonly #clock: Clock;
  readonly #report: (error: Error) => void;
  readonly #introduced = new Map<number, Promise<void>>();
  /** By topic generation: the broker groups that are known to have it. They never go back behind it. */
  readonly #have = new Map<number, Set<number>>();
  readonly #pending = new Map<number, Set<DefinitionCopy>>();
  #pendingCount = 0;
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(
    { members, definitions }: { readonly members: Members; readonly definitions: Definitions },
    { clock, report }: { readonly clock: Clock; report(error: Error): void },
  ) {
    this.#members = members;
    this.#definitions = definitions;
    this.#clock = clock;
    this.#report = report;
    members.supply = (group, error) => this.#supply(group, error);
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }

  /**
   * Every broker group concerned has it when this resolves.
   *
   * @returns it, with the note that they have.
   * @throws `outcome-unknown`: it is made, and not everywhere; the same request again goes on.
   */
  async spread<K extends StoredKind>(definition: Definition<K>): Promise<Definition<K>> {
    if (definition.spread === definition.version) return definition;
    const groups = await this.#concerned(definition);
    const deadline = this.#members.deadline();
    const told = await Promise.all(
      groups.map((group) =>
        this.#give(group, [copyFor(definition, group)], deadline).then(
          () => undefined,
          (error: unknown) => ({ group, error }),
        ),
      ),
    );
    const missing = told.find((one) => one !== undefined);
    if (missing) throw halfway(definition, missing);
    const noted = { ...definition, spread: definition.version };
    // Somebody may have changed it meanwhile: then there is something else to spread, which is theirs to do.
    return (await this.#definitions.write(noted).catch(() => undefined)) ?? definition;
  }

  async #concerned({ kind, groups }: Definition): Promise<readonly number[]> {
    if (kind === "topic") return groups;
    return this.#members.groups().catch((error: unknown) => {
      throw new TidegateError(
        "outcome-unknown",
        "Cannot learn which broker groups there are: the coordinator does not answer",
        {},
        error,
      );
    });
  }

  /** Whether the topic can be used there right away. */
  has({ generation }: TopicDefinition, group: number): boolean {
    return this.#have.get(generation)?.has(group) ?? false;
  }

  /** The broker group has the topic when this resolves. @throws `unavailable` */
  async ensure(
    topic: TopicDefinition,
    { group, deadline }: { readonly group: number; readonly deadline?: number | undefined },
  ): Promise<void> {
    if (this.has(topic, group)) return;
    try {
      await this.#give(group, [copyFor(topic, group)], deadline);
    } catch (error) {
      // What is told twice is told once: nothing was done that counts.
      if (!(error instanceof TidegateError) || error.code !== "outcome-unknown") throw error;
      throw new TidegateError("unavailable", error.message, error.details, error);
    }
    this.#note(topic, group);
  }

  #note({ generation }: TopicDefinition, group: number): void {
    const have = this.#have.get(generation) ?? new Set();
    if (have.size === 0 && this.#have.size >= HAVE_MAX) {
      this.#have.delete(this.#have.keys().next().value as number); // it is told once more, no harm
    }
    this.#have.set(generation, have.add(group));
  }

  /** A topic that was just made: those that cannot be told now are told when it is used. */
  async offer(topic: TopicDefinition): Promise<void> {
    await Promise.all(
      topic.groups.map(async (group) => {
        const told = this.#members.leader(group)?.share.define([copyFor(topic, group)]);
        await told?.then(
          () => this.#note(topic, group),
          () => {},
        );
      }),
    );
  }

  /** The broker groups know all consumer groups and producer groups when this resolves. */
  async introduce(groups: readonly number[]): Promise<void> {
    await Promise.all(groups.map((group) => this.#introduce(group)));
  }

  #introduce(group: number): Promise<void> {
    const known = this.#introduced.get(group);
    if (known) return known;
    const introducing = this.#tellAll(group);
    this.#introduced.set(group, introducing);
    introducing.catch(() => this.#introduced.delete(group));
    return introducing;
  }

  async #tellAll(group: number): Promise<void> {
    for (const kind of ["group", "producer-group"] as const) {
      for await (const all of this.#definitions.each(kind)) {
        if (all.length === 0) continue;
        await this.#give(
          group,
          all.map((one) => copyFor(one, group)),
        );
      }
    }
  }

  async #give(group: number, copies: readonly DefinitionCopy[], deadline?: number): Promise<void> {
    const ask = (broker: { readonly share: { define(all: typeof copies): Promise<void> } }) =>
      broker.share.define(copies);
    await this.#members.call({ group, ask, repeatable: true, deadline });
  }

  /** It is gone: broker groups that cannot be told at once are told later, as long as this gateway lives. */
  async withdraw(definition: Definition, groups: readonly number[]): Promise<void> {
    const copy = goneCopy(definition);
    await Promise.all(
      groups.map(async (group) => {
        const broker = this.#members.leader(group);
        const told = broker?.share.define([copy]).then(
          () => true,
          () => false,
        );
        if (!(await told)) this.#later(group, copy);
      }),
    );
  }

  #later(group: number, copy: DefinitionCopy): void {
    if (this.#closed || this.#pendingCount >= PENDING_MAX) return;
    const copies = this.#pending.get(group) ?? new Set();
    this.#pending.set(group, copies);
    copies.add(copy);
    this.#pendingCount++;
    this.#cancel ??= this.#clock.after(PENDING_MS, () => this.#again());
  }

  #again(): void {
    this.#cancel = undefined;
    const pending = [...this.#pending];
    this.#pending.clear();
    this.#pendingCount = 0;
    for (const [group, copies] of pending) {
      const broker = this.#members.leader(group);
      const keep = () => {
        for (const copy of copies) this.#later(group, copy);
      };
      if (broker) broker.share.define([...copies]).catch(keep);
      else keep();
    }
  }

  /** A broker group said that something does not exist, or is not its own. */
  async #supply(group: number, { details }: TidegateError): Promise<boolean> {
    const asked = [
      ["topic", details["topic"]],
      ["group", details["group"]],
    ] as const;
    for (const [kind, name] of asked) {
      if (typeof name !== "string") continue;
      const definition = await this.#definitions.read(kind, name);
      const concerned = definition && (kind !== "topic" || definition.groups.includes(group));
      if (!definition || !concerned) continue;
      try {
        const broker = this.#members.leader(group);
        if (!broker) return false;
        await broker.share.define([copyFor(definition, group)]);
        return true;
      } catch (error) {
        if (error instanceof TidegateError) return false;
        this.#report(error as Error);
        return false;
      }
    }
    return false;
  }
}

function halfway(
  { kind, name }: Definition,
  { group, error }: { readonly group: number; readonly error: unknown },
): TidegateError {
  const detail = `Cannot tell all broker groups of the ${kind} "${name}": broker group ${group} is not reached. It is made; the same request again completes it`;
  return new TidegateError("outcome-unknown", detail, { brokerGroup: group }, error);
}
