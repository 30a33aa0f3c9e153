/**
 * Settling over several broker groups: each receipt at the one that gave it.
 *
 * @module
 */

import type { BrokerGroupApi, SettleRequest, SettleResult } from "../broker/api.ts";
import { decodeReceipt } from "../broker/receipt.ts";
import type { Cluster } from "./cluster.ts";
import { changeEach } from "./consumer_group.ts";

/** The broker group a receipt is of; undefined when it is none. */
export function homeOfReceipt(receipt: string): number | undefined {
  return decodeReceipt(receipt)?.brokerGroup;
}

type Lists = { [K in keyof SettleRequest]: SettleRequest[K][number][] };

/** The part of a request that is one broker group's. */
interface Part {
  readonly request: Lists;
  /** Where its results belong in the answer, in order. */
  readonly places: number[];
}

/** @throws `outcome-unknown` when some of it is done, or may be; settling the same again does no harm. */
export async function settle(
  cluster: Cluster,
  { group: name, request }: { readonly group: string; readonly request: SettleRequest },
): Promise<readonly SettleResult[]> {
  await cluster.group(name);
  const known = new Set(cluster.members.known());
  const { parts, results } = split(request, known);
  const deadline = cluster.members.deadline();
  await changeEach([...parts.keys()], async (group) => {
    const { request: own, places } = parts.get(group) as Part;
    const ask = ({ groups }: BrokerGroupApi) => groups.settle(name, own);
    const settled = await cluster.members.call({ group, ask, deadline });
    for (const [i, place] of places.entries()) results[place] = settled[i] as SettleResult;
  });
  return results;
}

function split(
  request: SettleRequest,
  known: ReadonlySet<number>,
): { readonly parts: ReadonlyMap<number, Part>; readonly results: SettleResult[] } {
  const parts = new Map<number, Part>();
  const results: SettleResult[] = [];
  const put = <K extends keyof SettleRequest>(
    kind: K,
    item: SettleRequest[K][number],
    receipt: string,
  ) => {
    const place = results.length;
    results.push({ receipt, status: "invalid" });
    const group = homeOfReceipt(receipt);
    if (group === undefined || !known.has(group)) return;
    const part = parts.get(group) ?? newPart();
    parts.set(group, part);
    (part.request[kind] as SettleRequest[K][number][]).push(item);
    part.places.push(place);
  };
  for (const receipt of request.ack) put("ack", receipt, receipt);
  for (const item of request.release) put("release", item, item.receipt);
  for (const item of request.extend) put("extend", item, item.receipt);
  for (const item of request.reject) put("reject", item, item.receipt);
  return { parts, results };
}

function newPart(): Part {
  return { request: { ack: [], release: [], extend: [], reject: [] }, places: [] };
}
