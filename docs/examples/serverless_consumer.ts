/**
 * A consumer for serverless functions: one invocation receives messages of a
 * consumer group, works on them, settles them, and ends before its deadline.
 *
 *   receive ─▶ work on each ─▶ settle ─▶ receive … until nothing is ready, or time is short
 *
 * Nothing is kept between invocations, and any number of them may run at once: the
 * group gives each message to one of them. An invocation may be cut off anywhere:
 *
 *   - while it works    the lease ends soon after the deadline, and the message comes
 *                       again, with a higher `attempt`. So what `work` does must bear
 *                       being done twice.
 *   - an answer is lost the request is made again. A receive that repeats its
 *                       `attemptId` gets the same messages; settling twice is as good
 *                       as once.
 *
 * Web standards alone. Served as it is by `bun <this file>` and `deno serve -A <this
 * file>`; on other hosts of functions, export what `consumer()` returns.
 *
 * @module
 */

/** How long the host lets an invocation run, and what of it is kept for settling. */
const INVOCATION_MS = 25_000;
const MARGIN_MS = 2_000;

const BATCH = 10;
/** For the first message of a batch; time spent waiting is time paid for. */
const WAIT_MS = 1_000;

const TRIES = 3;
const PAUSE_MS = 200;
/** For an answer, over the time it may wait for a message. */
const ANSWER_MS = 5_000;

/** A leased message; its body is in `data` (JSON), `text`, or `dataBase64`. */
export interface Message {
  readonly id: string;
  readonly topic: string;
  readonly key?: string;
  readonly data?: unknown;
  readonly text?: string;
  readonly dataBase64?: string;
  readonly attempt: number;
  readonly receipt: string;
}

export interface Settings {
  /** Of the node, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly group: string;
  readonly apiKey?: string | undefined;
  /**
   * Does what is to be done about a message. When it throws, the message comes
   * again after the group's backoff; when it throws {@linkcode Hopeless}, it goes to
   * the dead letters. At the deadline `signal` aborts, and the message is another
   * invocation's at once.
   */
  work(message: Message, signal: AbortSignal): Promise<void> | void;
  readonly invocationMs?: number | undefined;
}

/** No retry would help. */
export class Hopeless extends Error {}

/** How many messages were done, come again, never come again, and went to somebody else meanwhile. */
export interface Report {
  done: number;
  later: number;
  never: number;
  lost: number;
}

/** What a host of functions asks for. */
export function consumer(settings: Settings): { fetch(request: Request): Promise<Response> } {
  return {
    async fetch() {
      try {
        return Response.json(await consume(settings));
      } catch (error) {
        return Response.json({ error: String(error) }, { status: 503 });
      }
    },
  };
}

/** One invocation. @throws when the node cannot be reached, or refuses */
export async function consume(settings: Settings): Promise<Report> {
  const report: Report = { done: 0, later: 0, never: 0, lost: 0 };
  const workingMs = Math.max(0, (settings.invocationMs ?? INVOCATION_MS) - MARGIN_MS);
  const endsAt = Date.now() + workingMs;
  const deadline = AbortSignal.timeout(workingMs);
  const late = new Promise<void>((resolve) => {
    deadline.addEventListener("abort", () => resolve(), { once: true });
  });
  while (!deadline.aborted) {
    const leftMs = Math.max(0, endsAt - Date.now());
    const messages = await receive(settings, leftMs);
    if (messages.length === 0) break;
    // At once: of an ordered group, a batch has no two messages of one key.
    const outcomes = await Promise.all(
      messages.map((message) => outcomeOf(message, { ...settings, deadline, late })),
    );
    await settle(settings, outcomes, report);
  }
  return report;
}

async function receive(settings: Settings, leftMs: number): Promise<readonly Message[]> {
  const answer = await ask(settings, "receive", {
    max: BATCH,
    waitMs: Math.min(WAIT_MS, leftMs),
    leaseMs: leftMs + 2 * MARGIN_MS, // should we be cut off, it comes again soon
    attemptId: crypto.randomUUID(), // the same in each try
  });
  if (answer.status === 204) return []; // nothing is ready
  return ((await answer.json()) as { messages: Message[] }).messages;
}

interface Outcome {
  readonly receipt: string;
  readonly kind: "done" | "later" | "never" | "unfinished";
  readonly reason?: string;
}

async function outcomeOf(
  message: Message,
  { work, deadline, late }: Settings & { deadline: AbortSignal; late: Promise<void> },
): Promise<Outcome> {
  const { receipt } = message;
  if (deadline.aborted) return { receipt, kind: "unfinished" };
  try {
    const worked = Promise.resolve(work(message, deadline)).then(() => "done" as const);
    return { receipt, kind: await Promise.race([worked, late.then(() => "unfinished" as const)]) };
  } catch (error) {
    if (error instanceof Hopeless) return { receipt, kind: "never", reason: error.message };
    return { receipt, kind: deadline.aborted ? "unfinished" : "later" };
  }
}

async function settle(
  settings: Settings,
  outcomes: readonly Outcome[],
  report: Report,
): Promise<void> {
  const of = (kind: Outcome["kind"]) => outcomes.filter((one) => one.kind === kind);
  const ack = of("done");
  const release = [
    ...of("later").map(({ receipt }) => ({ receipt })),
    ...of("unfinished").map(({ receipt }) => ({ receipt, delayMs: 0 })), // not its fault
  ];
  const reject = of("never").map(({ receipt, reason }) => ({ receipt, reason }));
  const answer = await ask(settings, "settle", {
    ack: ack.map(({ receipt }) => receipt),
    release,
    reject,
  });
  const { results } = (await answer.json()) as { results: { status: string }[] };
  const kept = results.map(({ status }) => status === "ok" || status === "late");
  const count = (from: number, to: number) => kept.slice(from, to).filter(Boolean).length;
  const [acked, released] = [ack.length, ack.length + release.length];
  report.done += count(0, acked);
  report.later += count(acked, released);
  report.never += count(released, kept.length);
  report.lost += kept.filter((one) => !one).length;
}

/** Asks again when no answer came, or one that says to. */
async function ask(settings: Settings, operation: string, body: object): Promise<Response> {
  const url = `${settings.url}/v1/groups/${settings.group}/${operation}`;
  const headers = {
    "content-type": "application/json",
    ...(settings.apiKey === undefined ? {} : { authorization: `Bearer ${settings.apiKey}` }),
  };
  const request = { method: "POST", headers, body: JSON.stringify(body) };
  for (let tries = 1; ; tries++) {
    try {
      const signal = AbortSignal.timeout(WAIT_MS + ANSWER_MS);
      const answer = await fetch(url, { ...request, signal });
      if (answer.ok) return answer;
      const problem = (await answer.json()) as { detail: string; retryable: boolean };
      if (!problem.retryable || tries === TRIES) throw new Refused(problem.detail);
    } catch (error) {
      if (error instanceof Refused || tries === TRIES) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, tries * PAUSE_MS));
  }
}

class Refused extends Error {}

/** The variables of the environment, where there are any. */
const { process } = globalThis as { process?: { env: Record<string, string | undefined> } };
const { TIDEGATE_URL, TIDEGATE_API_KEY, CONSUMER_GROUP } = process?.env ?? {};

export default consumer({
  url: TIDEGATE_URL ?? "http://127.0.0.1:8080",
  apiKey: TIDEGATE_API_KEY,
  group: CONSUMER_GROUP ?? "billing",
  work(message) {
    console.log(message.topic, message.id, message.data ?? message.text); // here goes your code
  },
});
