/**
 * What of a node's broker gets out: which calls are made here, and which of their
 * answers may leave.
 *
 *   closed ──open(life)──▶ open ──close()──▶ closed      a node leads for a while only
 *                            └──drain()──▶ takes no more
 *
 * A call is made
 *   - while this node leads and all that was confirmed before it led is here (`serves`) and
 *     shown by its broker (it is opened then); else `unavailable`, naming who leads: nothing took effect
 *   - if it has an effect, while what is appended now will be confirmed (`admits`).
 *
 * An answer leaves when it is certain that this node led at some moment between the
 * call and the answer: then it is what any other reader would have been told. Either
 *   - the node's lease holds, so nobody else can lead yet (`readsLatest`); or
 *   - something appended since the call came has been confirmed, for that takes every
 *     member's word, and a member that has elected another gives none. What such an
 *     answer rests on is confirmed, or the broker would still hold it back.
 * So writes, and whatever comes beside them, go on while the coordinator is away; and
 * where neither holds an answer is not given: `unavailable` if nothing was appended
 * meanwhile, `outcome-unknown` if the call may have done that.
 *
 * When the node ceases to lead, calls under way end at once: `unavailable` where they
 * have no effect, else `outcome-unknown`: what they appended may be there or be cut.
 *
 * @module
 */

import type { Clock } from "../../storage/base/clock.ts";
import { TidegateError } from "../../storage/base/errors.ts";
import type { BrokerGroupApi, NodeStatus } from "../broker/api.ts";
import type { BrokerCalls, Effect } from "../rpc/mod.ts";
import type { Replica } from "./replica.ts";

/** The broker of a life in which this node leads. */
export interface LeadingLife {
  readonly api: BrokerGroupApi;
  readonly replica: Pick<Replica, "serves" | "admits" | "log">;
  readonly readsLatest: boolean;
}

export interface GateOptions {
  readonly clock: Clock;
  /** Who leads now, as far as this node knows. */
  leader(): { readonly node: string | undefined; readonly epoch: number };
  /** Of a node that does not lead. */
  status(): NodeStatus;
}

/** For what was appended to be confirmed, once an answer is there that needs it. */
const PROOF_MS = 5000;

interface UnderWay {
  readonly effect: Effect;
  end(error: TidegateError): void;
}

interface Proof {
  readonly end: number;
  resolve(proven: boolean): void;
}

export class BrokerGate implements BrokerCalls {
  readonly #options: GateOptions;
  #life: LeadingLife | undefined;
  #draining = false;
  readonly #underWay = new Set<UnderWay>();
  #proofs: Proof[] = [];

  constructor(options: GateOptions) {
    this.#options = options;
  }

  open(life: LeadingLife): void {
    this.#life = life;
  }

  /** Ends what is under way; nothing more is answered but that. */
  close(): void {
    this.#life = undefined;
    for (const proof of this.#proofs.splice(0)) proof.resolve(false);
    for (const call of [...this.#underWay]) call.end(this.#cutOff(call.effect));
  }

  /** Takes no more calls. */
  drain(): void {
    this.#draining = true;
  }

  /** Calls that may change something and are not answered yet. */
  get writesUnderWay(): number {
    return [...this.#underWay].filter(({ effect }) => effect !== "none").length;
  }

  /** More may be confirmed. */
  confirmed(): void {
    const confirmOffset = this.#life?.replica.log.confirmOffset ?? 0;
    const proven = this.#proofs.filter(({ end }) => end <= confirmOffset);
    if (proven.length === 0) return;
    this.#proofs = this.#proofs.filter(({ end }) => end > confirmOffset);
    for (const proof of proven) proof.resolve(true);
  }

  status(): NodeStatus {
    const life = this.#life;
    if (!life) return this.#options.status();
    const { serves, admits } = life.replica;
    const status = life.api.status();
    return { ...status, ready: status.ready && serves && admits && !this.#draining };
  }

  async run(effect: Effect, call: (api: BrokerGroupApi) => Promise<unknown>): Promise<unknown> {
    const life = this.#admit(effect);
    const { end } = life.replica.log;
    const answered = await settle(this.#whileItLeads(effect, call(life.api)));
    await this.#prove(life, { effect, end });
    if (answered.failed) throw answered.error; // a refusal tells as much as an answer
    return answered.value;
  }

  #admit(effect: Effect): LeadingLife {
    const life = this.#life;
    if (this.#draining) {
      throw new TidegateError("draining", "Cannot answer: the node is shutting down", this.#hint());
    }
    if (!life?.replica.serves) throw this.#notLeading();
    if (effect !== "none" && !life.replica.admits) {
      const detail = "Cannot take it now: too few members of the broker group keep up";
      throw new TidegateError("unavailable", detail, this.#hint());
    }
    return life;
  }

  /** What the call gives, unless the node ceases to lead before. */
  #whileItLeads<T>(effect: Effect, answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = { effect, end: reject };
      this.#underWay.add(call);
      answer.then(resolve, reject).finally(() => this.#underWay.delete(call));
    });
  }

  async #prove(
    life: LeadingLife,
    { effect, end }: { readonly effect: Effect; readonly end: number },
  ): Promise<void> {
    if (this.#life !== life) throw this.#cutOff(effect);
    const { log } = life.replica;
    if (life.readsLatest || log.confirmOffset > end) return;
    if (log.end > end) {
      if (await this.#confirmedTo(log.end)) return;
      throw this.#cutOff(effect);
    }
    const detail = "Cannot answer: the node cannot be sure that it still leads";
    throw new TidegateError("unavailable", detail, this.#hint());
  }

  #confirmedTo(end: number): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(PROOF_MS, () => proof.resolve(false));
      const proof = {
        end,
        resolve: (proven: boolean) => {
          cancel();
          this.#proofs = this.#proofs.filter((one) => one !== proof);
          resolve(proven);
        },
      };
      this.#proofs.push(proof);
    });
  }

  #notLeading(): TidegateError {
    const { leader } = this.#hint();
    const who = leader === undefined ? "nobody leads" : `"${leader}" leads`;
    const detail = `Cannot answer here: ${who} the broker group`;
    return new TidegateError("unavailable", detail, this.#hint());
  }

  #cutOff(effect: Effect): TidegateError {
    if (effect === "none") return this.#notLeading();
    const detail = "Cannot learn the outcome: the node ceased to lead meanwhile";
    return new TidegateError("outcome-unknown", detail, this.#hint());
  }

  #hint(): { readonly leader?: string; readonly epoch: number } {
    const { node, epoch } = this.#options.leader();
    return node === undefined ? { epoch } : { leader: node, epoch };
  }
}

async function settle(
  answer: Promise<unknown>,
): Promise<{ failed: false; value: unknown } | { failed: true; error: unknown }> {
  try {
    return { failed: false, value: await answer };
  } catch (error) {
    return { failed: true, error };
  }
}
