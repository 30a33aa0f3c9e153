/**
 * The definitions of a cluster, as this gateway knows them.
 *
 * The coordinator is asked for what is changed and for what people look at. What
 * messages need is remembered, and looked at again in the background when a watch
 * hints at a change, or now and then, for hints may be lost. So while the coordinator
 * is away, all that was used goes on being used; brokers refuse what is out of date.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import { type Definition, decodeDefinition, encodeDefinition } from "./definition.ts";
import type { DefinitionStore, Stored, StoredKind } from "./ports.ts";

/** Remembered at once, of each kind; the longest known are forgotten first. */
const REMEMBERED_MAX = 200_000;
/** Without a hint, what was read is believed for so long. */
const BELIEVED_MS = 30_000;
/** After a hint, one definition is looked at again no more often than this. */
const AGAIN_MS = 1000;
const PAGE = 500;

interface Remembered {
  definition: Definition;
  readAt: number;
  /** Hints of its kind that had come when it was read. */
  hints: number;
  reading: boolean;
}

const KINDS: readonly StoredKind[] = ["topic", "group", "producer-group"];

export class Definitions {
  readonly #store: DefinitionStore;
  readonly #clock: Clock;
  readonly #remembered = new Map<StoredKind, Map<string, Remembered>>();
  readonly #hints = new Map<StoredKind, number>();
  readonly #unwatch: readonly (() => void)[];

  constructor({ definitions, clock }: { definitions: DefinitionStore; clock: Clock }) {
    this.#store = definitions;
    this.#clock = clock;
    this.#unwatch = KINDS.map((kind) =>
      definitions.watchDefinitions(kind, () => {
        this.#hints.set(kind, this.#hintsOf(kind) + 1);
      }),
    );
  }

  close(): void {
    for (const unwatch of this.#unwatch) unwatch();
  }

  /** As remembered, without waiting; it may be looked at again meanwhile. */
  peek<K extends StoredKind>(kind: K, name: string): Definition<K> | undefined {
    const known = this.#of(kind).get(name);
    if (!known) return undefined;
    const age = this.#clock.elapsed() - known.readAt;
    const hinted = known.hints !== this.#hintsOf(kind) && age >= AGAIN_MS;
    if ((hinted || age >= BELIEVED_MS) && !known.reading) this.#lookAgain(known);
    return known.definition as Definition<K>;
  }

  /**
   * As remembered, or as the coordinator has it.
   *
   * @throws `unavailable` when neither can be had.
   */
  async find<K extends StoredKind>(kind: K, name: string): Promise<Definition<K> | undefined> {
    return this.peek(kind, name) ?? (await this.read(kind, name));
  }

  /** As the coordinator has it now. @throws `unavailable` */
  async read<K extends StoredKind>(kind: K, name: string): Promise<Definition<K> | undefined> {
    const hints = this.#hintsOf(kind);
    const stored = await orUnavailable(this.#store.definition(kind, name));
    return this.#remember(kind, stored, hints);
  }

  /** As the coordinator has it now; while it is away, as remembered. @throws `unavailable` */
  async readOrRecall<K extends StoredKind>(
    kind: K,
    name: string,
  ): Promise<Definition<K> | undefined> {
    try {
      return await this.read(kind, name);
    } catch (error) {
      const known = this.#of(kind).get(name);
      if (!known) throw error;
      return known.definition as Definition<K>;
    }
  }

  /** In order of name, from the coordinator. @throws `unavailable` */
  async page<K extends StoredKind>(
    kind: K,
    { after, limit }: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<{ readonly all: readonly Definition<K>[]; readonly next?: string | undefined }> {
    const hints = this.#hintsOf(kind);
    const wish = { kind, after: after ?? "", limit: limit + 1 };
    const stored = await orUnavailable(this.#store.definitions(wish));
    const shown = stored.slice(0, limit);
    const all = shown.flatMap((one) => this.#remember(kind, one, hints) ?? []);
    return { all, next: stored.length > limit ? shown.at(-1)?.name : undefined };
  }

  /** All of a kind, page by page. @throws `unavailable` */
  async *each<K extends StoredKind>(kind: K): AsyncGenerator<readonly Definition<K>[]> {
    let after: string | undefined;
    do {
      const { all, next } = await this.page(kind, { after, limit: PAGE });
      yield all;
      after = next;
    } while (after !== undefined);
  }

  /** Unique in the cluster. @throws `unavailable` */
  nextGeneration(): Promise<number> {
    return orUnavailable(this.#store.nextGeneration());
  }

  /**
   * Writes it if it still has the revision it says.
   *
   * @returns undefined when somebody else was first.
   * @throws `outcome-unknown`
   */
  async write<K extends StoredKind>(wanted: Definition<K>): Promise<Definition<K> | undefined> {
    const { kind, name, revision } = wanted;
    const value = encodeDefinition(wanted);
    const made = await this.#swap({ kind, name, value, revision });
    if (made === undefined) return undefined;
    return this.#remember(kind, { name, value, revision: made }, this.#hintsOf(kind));
  }

  /** @returns whether it was removed; false when somebody changed it meanwhile. @throws `outcome-unknown` */
  async remove({ kind, name, revision }: Definition): Promise<boolean> {
    const made = await this.#swap({ kind, name, value: undefined, revision });
    if (made !== undefined) this.#of(kind).delete(name);
    return made !== undefined;
  }

  /** @returns the new revision; undefined when it had another one. */
  async #swap(change: {
    readonly kind: StoredKind;
    readonly name: string;
    readonly value: string | undefined;
    readonly revision: number;
  }): Promise<number | undefined> {
    try {
      const outcome = await this.#store.define(change);
      return outcome.kind === "done" ? outcome.revision : undefined;
    } catch (error) {
      if (!isUnknown(error)) throw error;
      // Whether it was made tells what is there, if that can be told; that it was not may still change.
      const now = await this.#store.definition(change.kind, change.name).catch(() => undefined);
      const made = now && now.revision !== change.revision && now.value === (change.value ?? "");
      if (made) return now.revision;
      throw error;
    }
  }

  #remember<K extends StoredKind>(
    kind: K,
    stored: Stored,
    hints: number,
  ): Definition<K> | undefined {
    const all = this.#of(kind);
    const before = all.get(stored.name);
    all.delete(stored.name);
    if (stored.revision === 0) return undefined;
    const definition = decodeDefinition(kind, stored);
    // An answer that was overtaken by a later one tells nothing new.
    if (before && before.definition.revision > stored.revision) {
      all.set(stored.name, before);
      return before.definition as Definition<K>;
    }
    if (all.size >= REMEMBERED_MAX) all.delete(all.keys().next().value as string);
    all.set(stored.name, { definition, readAt: this.#clock.elapsed(), hints, reading: false });
    return definition;
  }

  #lookAgain(known: Remembered): void {
    known.reading = true;
    const { kind, name } = known.definition;
    this.read(kind, name).catch(() => {
      known.reading = false;
      known.readAt = this.#clock.elapsed(); // it is away: not at once again
    });
  }

  #of(kind: StoredKind): Map<string, Remembered> {
    let all = this.#remembered.get(kind);
    if (!all) {
      all = new Map();
      this.#remembered.set(kind, all);
    }
    return all;
  }

  #hintsOf(kind: StoredKind): number {
    return this.#hints.get(kind) ?? 0;
  }
}

function isUnknown(error: unknown): boolean {
  return error instanceof TidegateError && error.code === "outcome-unknown";
}

/** Of a request that changes nothing: nothing took effect. */
async function orUnavailable<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (!isUnknown(error)) throw error;
    const detail = "Cannot look at definitions: the coordinator does not answer";
    throw new TidegateError("unavailable", detail, { coordinator: true }, error);
  }
}
