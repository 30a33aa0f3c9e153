/**
 * A payment that is written to a database and told to others, both or neither.
 *
 *   pay      begin ─▶ write to the database ─▶ commit
 *   onCheck  a serverless function, asked when nobody said commit or rollback:
 *            the database knows
 *
 * Whatever dies in between, the row decides: it is there, and the message
 * becomes visible, or it is not, and nobody ever sees one. Web standards only, so
 * both functions run wherever `fetch` does.
 *
 * @module
 */

export interface Payment {
  readonly id: string;
  readonly order: string;
  readonly cents: number;
}

/** The database, as far as this example needs one. */
export interface Payments {
  /** Writes the payment and the transaction it belongs to, as one. */
  insert(payment: Payment, transactionId: string): Promise<void>;
  /** Whether the payment of this transaction is there. */
  has(transactionId: string): Promise<boolean>;
  /** Makes sure that it never will be: a later insert fails. */
  forbid(transactionId: string): Promise<void>;
}

export interface Gateway {
  /** Where Tidegate answers, without a slash at the end. */
  readonly url: string;
  readonly key: string;
}

const PRODUCER_GROUP = "payments";

/** Takes a payment. When it throws, what became of it is in the database alone. */
export async function pay(gateway: Gateway, db: Payments, payment: Payment): Promise<void> {
  const message = { topic: "payments", key: payment.order, id: payment.id, data: payment };
  const begun = await ask(gateway, "/v1/transactions", {
    producerGroup: PRODUCER_GROUP,
    messages: [message],
  });
  const { id } = (await begun.json()) as { id: string };
  try {
    await db.insert(payment, id);
  } catch (error) {
    // It may be there all the same: a connection can break after the write. The check will tell.
    throw new Error(`Cannot say yet whether payment ${payment.id} was taken`, { cause: error });
  }
  await ask(gateway, `/v1/transactions/${id}/commit`, {});
}

/**
 * Answers one check-back: `POST {"type", "timestamp", "data": {"transactionId", …}}`, after its
 * signature was verified (Standard Webhooks, with the producer group's `checkSecret`).
 */
export async function onCheck(db: Payments, request: Request): Promise<Response> {
  const { data } = (await request.json()) as { data: { transactionId: string } };
  return Response.json({ decision: await outcomeOf(db, data.transactionId) });
}

/** The same without a public address: takes what is due and answers it; run it on a schedule. */
export async function answerChecks(gateway: Gateway, db: Payments): Promise<number> {
  const path = `/v1/producers/${PRODUCER_GROUP}/checks`;
  const response = await ask(gateway, path, { max: 100, waitMs: 0 });
  if (response.status === 204) return 0;
  const { checks } = (await response.json()) as { checks: { transactionId: string }[] };
  for (const { transactionId: id } of checks) {
    await ask(gateway, `/v1/transactions/${id}/${await outcomeOf(db, id)}`, {});
  }
  return checks.length;
}

/** A payment not there by now must not come later, or it would be there without its message. */
async function outcomeOf(db: Payments, transactionId: string): Promise<"commit" | "rollback"> {
  if (await db.has(transactionId)) return "commit";
  await db.forbid(transactionId);
  return (await db.has(transactionId)) ? "commit" : "rollback"; // it may have been faster
}

async function ask({ url, key }: Gateway, path: string, body: unknown): Promise<Response> {
  const response = await fetch(`${url}${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${key}` },
    body: JSON.stringify(body),
  });
  if (response.ok) return response;
  throw new Error(`Cannot ${path}: ${await response.text()}`);
}
