/**
 * The coordinator of one process: for `serve`, where one node is the cluster, and
 * for tests. In memory, so what is to outlive the process its user keeps: `serve`
 * has its definitions in the log, and a group of one begins anew with each start.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import type {
  Coordinator,
  DecidedOutcome,
  Definition,
  DefinitionChange,
  DefinitionKind,
  DefinitionPage,
  Liveness,
  LivenessEvents,
} from "./coordinator.ts";
import type { Sighting, Swap } from "./effects.ts";
import { type GroupState, type Member, sameBoot } from "./group_state.ts";
import { KEEP_ALIVE_MS, LEASE_TTL_MS, leaseDeadline } from "./lease.ts";

const NONE = { revision: 0, state: undefined } as const;

interface Holder {
  readonly member: Member;
  end(): void;
}

class Watches {
  readonly #hints = new Map<string, Set<() => void>>();

  add(key: string, onHint: () => void): () => void {
    const hints = this.#hints.get(key) ?? new Set();
    this.#hints.set(key, hints);
    const own = () => onHint(); // so that the same function may watch twice
    hints.add(own);
    return () => {
      hints.delete(own);
      if (hints.size === 0 && this.#hints.get(key) === hints) this.#hints.delete(key);
    };
  }

  tell(key: string): void {
    for (const hint of [...(this.#hints.get(key) ?? [])]) hint();
  }
}

export class EmbeddedCoordinator implements Coordinator {
  readonly #clock: Clock;
  readonly #states = new Map<string, { revision: number; state: GroupState }>();
  readonly #live = new Map<string, Map<string, Holder>>();
  readonly #definitions = new Map<DefinitionKind, Map<string, Definition>>();
  readonly #watches = new Watches();
  #revision = 0;
  #generation = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async look(group: string): Promise<Sighting> {
    const { revision, state } = this.#states.get(group) ?? NONE;
    return { revision, state, live: this.#members(group) };
  }

  #members(group: string): readonly Member[] {
    return [...(this.#live.get(group)?.values() ?? [])].map(({ member }) => member);
  }

  async found(group: string, state: GroupState): Promise<DecidedOutcome> {
    if (this.#states.has(group)) return { kind: "changed" };
    return this.#put(group, state);
  }

  async swap(group: string, { revision, state, alive, gone }: Swap): Promise<DecidedOutcome> {
    const live = this.#members(group);
    const lives = (member: Member) => live.some((one) => sameBoot(one, member));
    const holds = this.#states.get(group)?.revision === revision && alive.every(lives);
    if (!holds || (gone && lives(gone))) return { kind: "changed" };
    return this.#put(group, state);
  }

  #put(group: string, state: GroupState): DecidedOutcome {
    const revision = ++this.#revision;
    this.#states.set(group, { revision, state });
    this.#tell(`group ${group}`);
    return { kind: "done", revision };
  }

  live(group: string, member: Member, events: LivenessEvents): Liveness {
    const members = this.#live.get(group) ?? new Map<string, Holder>();
    this.#live.set(group, members);
    let cancel: (() => void) | undefined;
    const prolong = (fresh: boolean) => {
      const sentAt = this.#clock.elapsed();
      events.onLease({ until: leaseDeadline({ sentAt, ttlMs: LEASE_TTL_MS }), fresh });
      cancel = this.#clock.after(KEEP_ALIVE_MS, () => prolong(false));
    };
    const holder = { member, end: () => cancel?.() };
    members.get(member.node)?.end(); // one node lives once: the later boot has the key
    members.set(member.node, holder);
    prolong(true);
    this.#tell(`group ${group}`);
    return {
      end: async () => {
        holder.end();
        if (members.get(member.node) !== holder) return;
        members.delete(member.node);
        this.#tell(`group ${group}`);
      },
    };
  }

  watch(group: string, onHint: () => void): () => void {
    return this.#watches.add(`group ${group}`, onHint);
  }

  #of(kind: DefinitionKind): Map<string, Definition> {
    const found = this.#definitions.get(kind) ?? new Map<string, Definition>();
    this.#definitions.set(kind, found);
    return found;
  }

  async definition(kind: DefinitionKind, name: string): Promise<Definition> {
    return this.#of(kind).get(name) ?? { name, value: "", revision: 0 };
  }

  async definitions({ kind, after, limit }: DefinitionPage): Promise<readonly Definition[]> {
    return [...this.#of(kind).values()]
      .filter(({ name }) => name > after)
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      .slice(0, limit);
  }

  async define({ kind, name, value, revision }: DefinitionChange): Promise<DecidedOutcome> {
    const definitions = this.#of(kind);
    if ((definitions.get(name)?.revision ?? 0) !== revision) return { kind: "changed" };
    const next = ++this.#revision;
    if (value === undefined) definitions.delete(name);
    else definitions.set(name, { name, value, revision: next });
    this.#tell(`definitions ${kind}`);
    return { kind: "done", revision: next };
  }

  watchDefinitions(kind: DefinitionKind, onHint: () => void): () => void {
    return this.#watches.add(`definitions ${kind}`, onHint);
  }

  async nextGeneration(): Promise<number> {
    return ++this.#generation;
  }

  /** In a later turn, as any coordinator would. */
  #tell(key: string): void {
    this.#clock.defer(() => this.#watches.tell(key));
  }

  async close(): Promise<void> {
    for (const members of this.#live.values()) {
      for (const holder of members.values()) holder.end();
    }
  }
}
