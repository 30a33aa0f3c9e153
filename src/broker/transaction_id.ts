/**
 * Ids of transactions: `home-secret`, where the home is the number of the broker
 * group that has it, so that whoever has an id can find it, and the rest is 16
 * bytes of chance in hex, so that nobody decides a transaction who was not told of it.
 *
 * @module
 */

export function transactionIdOf(brokerGroup: number, chance: Uint8Array): string {
  const hex = Array.from(chance, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${brokerGroup}-${hex}`;
}

/** The broker group that has the transaction; undefined when this is no id of one. */
export function homeOf(id: string): number | undefined {
  const home = /^(0|[1-9]\d{0,4})-[0-9a-f]{32}$/.exec(id)?.[1];
  return home === undefined || Number(home) > 0xffff ? undefined : Number(home);
}
