/**
 * The one error class of the house, and the table of its codes.
 *
 * An operating error is expected: it carries a code, and callers branch on the
 * code, never on the message. A programmer error is an `assert` that failed:
 * nobody catches it, and the process ends.
 *
 * @module
 */

export interface CodeFacts {
  /** The problem's `title`: what went wrong, in a few words. */
  readonly title: string;
  /** Whether the same request may succeed later, unchanged. */
  readonly retryable: boolean;
  /** Whether the request may have taken effect. */
  readonly applied: false | "unknown";
  /** For the page `/problems/<code>`: what it means and what to do. */
  readonly about: string;
}

function code(title: string, about: string, more: Partial<CodeFacts> = {}): CodeFacts {
  return { title, about, retryable: false, applied: false, ...more };
}

/** Codes are wire format: append new ones, never rename, never reuse. */
export const CODES = {
  "invalid-request": code(
    "Malformed request",
    "The path, query, headers or body could not be read as what the operation takes. Mend the request; sending it again unchanged gives the same answer.",
  ),
  "invalid-cursor": code(
    "Invalid cursor",
    "A cursor is opaque: pass one exactly as an earlier answer gave it, to the topic it came from.",
  ),
  unauthorized: code(
    "Authentication needed",
    "Send `Authorization: Bearer <key>` with one of the keys the node was started with.",
  ),
  forbidden: code("Not allowed", "The credential is valid but may not do this."),
  "not-found": code("No such resource", "No route has this path. See /docs for those that exist."),
  "topic-not-found": code(
    "Topic not found",
    "No topic has this name. Create it with PUT /v1/topics/{topic}; publishing creates it only where auto-create is on.",
  ),
  "group-not-found": code(
    "Consumer group not found",
    "No consumer group has this name. Create it with PUT /v1/groups/{group}.",
  ),
  "message-not-found": code(
    "Message not found",
    "The topic holds no message with this id, or no longer.",
  ),
  "method-not-allowed": code(
    "Method not allowed",
    "The path exists, with other methods: see the Allow header.",
  ),
  "request-timeout": code(
    "Request took too long to arrive",
    "The body did not arrive in time and nothing was stored. Send it again over a faster connection.",
    { retryable: true },
  ),
  "topic-exists": code(
    "Topic exists with another configuration",
    "PUT creates or matches. GET the topic to see its configuration, PATCH it to change what may change.",
  ),
  "already-delivered": code(
    "Message was delivered",
    "Only a delayed message can be recalled, and only until it is due.",
  ),
  "id-in-use": code(
    "Id of a scheduled message",
    "A delayed message of this topic that is not delivered yet has this id. Choose another one, or recall that message first. If this is a retry, the first try was stored.",
  ),
  "group-exists": code(
    "Consumer group exists with another configuration",
    "PUT creates or matches. GET the group to see its configuration, PATCH it to change what may change.",
  ),
  "key-order": code(
    "Change would break the order of keys",
    "A fifo topic keeps its number of queues for life, and no topic loses queues: each key stays on its queue.",
  ),
  "immutable-field": code(
    "Field cannot change",
    "This field is fixed when the resource is made. Create another one.",
  ),
  "cursor-expired": code(
    "Cursor is older than what is kept",
    "Messages after this cursor were removed by retention or a purge. Go on from `earliest`.",
  ),
  "cursor-generation": code(
    "Cursor is of an earlier topic of this name",
    "The topic was deleted and made again since. Read it from `earliest`.",
  ),
  "message-too-large": code(
    "Message too large",
    "A message body may hold 4 MiB. Store larger content elsewhere and publish a reference.",
  ),
  "body-too-large": code(
    "Request body too large",
    "The body exceeds what this operation takes; the limit is in the problem. Nothing was stored.",
  ),
  "unsupported-media-type": code(
    "Unsupported media type",
    "The Content-Type is not one this operation reads.",
  ),
  "validation-failed": code(
    "Request understood but not valid",
    "One or more fields break a rule; `errors` points at each. Unknown fields are refused so that a misspelt one is not lost.",
  ),
  "filter-invalid": code(
    "Filter cannot be used",
    "The tag expression or SQL could not be compiled, or exceeds a bound; `position` is where, counting characters from 0. Nothing was changed.",
  ),
  "group-busy": code(
    "Consumer group has open leases",
    "A group changes its mode only when none of its messages is leased or waits for a retry. Settle them, or seek the group, and try again.",
  ),
  "message-type-mismatch": code(
    "Message does not fit the topic's type",
    "A `fifo` topic takes only messages with a key, a `normal` topic only messages without one, neither takes delayed ones; a `delay` topic takes no others. A `transaction` topic takes only messages of transactions, and only it and a `mixed` one take those; they have no delay.",
  ),
  "delay-too-long": code(
    "Delay too long",
    "The message would be delivered later than this node keeps a delayed message: `limitMs` is the most. Nothing was stored.",
  ),
  "headers-too-large": code(
    "Headers too large",
    "The request's header fields exceed what the node reads. Move properties into a JSON batch.",
  ),
  "idempotency-mismatch": code(
    "Idempotency key used for another request",
    "A request with this Idempotency-Key was stored, with another body or other attributes. Use a new key for each message; send the same request to repeat it.",
  ),
  "idempotency-in-progress": code(
    "First request with this key is not yet stored",
    "Another request with this Idempotency-Key is being stored. Try again: its answer will be given.",
    { retryable: true },
  ),
  "producer-sequence-gap": code(
    "Producer's sequence has a gap",
    "Messages of a producer are taken in the order of Producer-Seq, from 0 in each epoch; `expectedSeq` is the next. Nothing was stored. A producer that has lost count begins a new epoch at 0; one that published nothing for seven days is forgotten.",
  ),
  "producer-sequence-old": code(
    "Repeat of a message published long ago",
    "The message with this Producer-Seq was stored, once; the answer is remembered of a producer's last publishes only. `expectedSeq` is the next.",
  ),
  "producer-fenced": code(
    "A newer producer has taken over",
    "Messages of a later Producer-Epoch have been stored, so those of this one are refused. Stop, or begin a later epoch at sequence 0.",
  ),
  "transaction-not-found": code(
    "Transaction not found",
    "No transaction has this id, or it was decided more than 24 hours ago.",
  ),
  "transaction-decided": code(
    "Transaction was decided otherwise",
    "The first decision holds, and `state` is what it was. Repeating that decision is answered like the first time.",
  ),
  "producer-group-not-found": code(
    "Producer group not found",
    "No producer group has this name. Transactions need none; create one with PUT /v1/producers/{producerGroup} to give them other defaults.",
  ),
  "producer-group-exists": code(
    "Producer group exists with another configuration",
    "PUT creates or matches, the secret included. GET the producer group to see its configuration, PATCH it to change it.",
  ),
  "check-url-refused": code(
    "Check-back address may not be called",
    "The checkUrl must be https, without credentials and fragment, and not of a private or loopback address, unless this node is configured to allow those.",
  ),
  "topic-busy": code(
    "Topic has transactions that are not decided",
    "Messages of this topic wait for the outcome of `transactions`. Commit or roll those back, or delete with `?force=true`, which rolls them back.",
  ),
  overloaded: code(
    "Node is at capacity",
    "A bound of this node is reached; nothing was stored. Try again after Retry-After.",
    { retryable: true },
  ),
  "disk-full": code(
    "No room on the disk",
    "The node's disk is nearly full, and nothing was stored. Consumers go on. Try again after Retry-After: messages are taken again as soon as there is room, without a restart.",
    { retryable: true },
  ),
  "quota-exceeded": code(
    "Quota exceeded",
    "A bound of this credential is reached; nothing was stored. Try again after Retry-After.",
    { retryable: true },
  ),
  draining: code(
    "Node is shutting down",
    "The node finishes what it holds and takes nothing new. Try again: another node, or this one once restarted, answers.",
    { retryable: true },
  ),
  internal: code(
    "Internal error",
    "The node failed in a way nobody foresaw; its log has the details under the traceId. Whether the request took effect is unknown.",
    { applied: "unknown" },
  ),
  "data-damaged": code(
    "Stored data is damaged",
    "The disk returned other bytes than were written. The range is in the problem; the cursor in `next` steps over it.",
  ),
  "not-implemented": code(
    "Not available in this build",
    "This build knows the feature but does not have it yet. Nothing was accepted or stored.",
  ),
  unavailable: code(
    "Node cannot be reached",
    "The node that has what the request is about gave no answer, and nothing took effect. Try again after Retry-After.",
    { retryable: true },
  ),
  "outcome-unknown": code(
    "Outcome unknown",
    "The node could not learn in time whether the request took effect. Read back before sending it again.",
    { retryable: true, applied: "unknown" },
  ),
} as const satisfies Record<string, CodeFacts>;

export type ErrorCode = keyof typeof CODES;

/** Values to act on, not a sentence to parse; they become members of the problem. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

export class TidegateError extends Error {
  override readonly name = "TidegateError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.details = details;
  }
}
