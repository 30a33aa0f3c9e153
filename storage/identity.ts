/**
 * What a data directory is to the others of its group: the name of the disk, and what
 * was promised on it. One file of two slots, written in turn, as the checkpoint is.
 *
 *   slot i at 512 × i:
 *   at  size  field
 *    0     8  magic     "TIDEIDN1"
 *    8     8  sequence  rises with every write
 *   16    16  diskId    random, made with the directory
 *   32     8  revision  of the state that the promise was made at; 0: there is none
 *   40     4  epoch     nothing older is acknowledged any more
 *   44     1  failed    1: a sync failed
 *   45     3  zero
 *   48     4  crc32     of bytes [0, 48)
 *
 * Others count on what a disk ever said it holds, by its name. So a directory that may
 * hold less gets another one, before anything is told of it: where there is no whole
 * slot (a new directory, or one restored from a backup, which has none), after a
 * failed sync, and before synced bytes are cut for their damage.
 *
 * @module
 */

import { decodeUtf8, encodeUtf8, getU64, setU64, viewOf } from "./base/bytes.ts";
import type { Crc32 } from "./base/checksum.ts";
import { type Disk, type DiskFile, openAnew, readRange } from "./base/disk.ts";

export const IDENTITY_PATH = "identity";
export const IDENTITY_SLOT_SIZE = 512;
export const IDENTITY_CRC_AT = 48;
const MAGIC = "TIDEIDN1";
export const IDENTITY_FORMAT = MAGIC;
const ID_SIZE = 16;

/** Nothing older than `epoch` is acknowledged here, since `revision`. */
export interface Promised {
  readonly epoch: number;
  readonly revision: number;
}

export interface IdentitySlot {
  readonly sequence: number;
  readonly diskId: Uint8Array;
  readonly promised: Promised | undefined;
  readonly failed: boolean;
}

export function encodeIdentity(slot: IdentitySlot, crc32: Crc32): Uint8Array {
  const bytes = new Uint8Array(IDENTITY_SLOT_SIZE);
  const view = viewOf(bytes);
  bytes.set(encodeUtf8(MAGIC));
  setU64(view, 8, slot.sequence);
  bytes.set(slot.diskId.subarray(0, ID_SIZE), 16);
  setU64(view, 32, slot.promised?.revision ?? 0);
  view.setUint32(40, slot.promised?.epoch ?? 0);
  view.setUint8(44, slot.failed ? 1 : 0);
  view.setUint32(IDENTITY_CRC_AT, crc32(bytes.subarray(0, IDENTITY_CRC_AT)));
  return bytes;
}

function decodeSlot(bytes: Uint8Array, crc32: Crc32): IdentitySlot | undefined {
  if (bytes.length < IDENTITY_CRC_AT + 4) return undefined;
  if (decodeUtf8(bytes.subarray(0, 8)) !== MAGIC) return undefined;
  const view = viewOf(bytes);
  if (view.getUint32(IDENTITY_CRC_AT) !== crc32(bytes.subarray(0, IDENTITY_CRC_AT))) {
    return undefined;
  }
  const [revision, epoch] = [getU64(view, 32), view.getUint32(40)];
  return {
    sequence: getU64(view, 8),
    diskId: bytes.slice(16, 16 + ID_SIZE),
    promised: revision > 0 ? { epoch, revision } : undefined,
    failed: view.getUint8(44) !== 0,
  };
}

/** The newest whole slot of both; undefined where there is none. */
export function decodeIdentity(bytes: Uint8Array, crc32: Crc32): IdentitySlot | undefined {
  const slots = [0, 1].map((i) =>
    decodeSlot(bytes.subarray(i * IDENTITY_SLOT_SIZE, (i + 1) * IDENTITY_SLOT_SIZE), crc32),
  );
  const whole = slots.filter((slot) => slot !== undefined);
  return whole.toSorted((a, b) => b.sequence - a.sequence)[0];
}

export interface IdentityPorts {
  readonly disk: Disk;
  readonly crc32: Crc32;
  /** Returns `size` random bytes. */
  entropy(size: number): Uint8Array;
}

export class Identity {
  readonly #ports: IdentityPorts;
  readonly #file: DiskFile;
  #slot: IdentitySlot;
  #writing: Promise<void> = Promise.resolve();

  private constructor(ports: IdentityPorts, file: DiskFile, slot: IdentitySlot) {
    this.#ports = ports;
    this.#file = file;
    this.#slot = slot;
  }

  static async open(ports: IdentityPorts): Promise<Identity> {
    const { disk, crc32, entropy } = ports;
    let file = await disk.open(IDENTITY_PATH, { create: true });
    const found = decodeIdentity(await readRange(file, 0, 2 * IDENTITY_SLOT_SIZE), crc32);
    if (found?.failed) {
      await file.close();
      file = await openAnew(disk, IDENTITY_PATH, 2 * IDENTITY_SLOT_SIZE);
    }
    const fresh = { sequence: 0, diskId: entropy(ID_SIZE), promised: undefined, failed: false };
    const identity = new Identity(ports, file, found ?? fresh);
    if (!found) await identity.#write({});
    else if (found.failed) await identity.renew();
    await disk.syncDir("");
    return identity;
  }

  /** The name of the disk, in hex. */
  get diskId(): string {
    return Array.from(this.#slot.diskId, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  get promised(): Promised | undefined {
    return this.#slot.promised;
  }

  /** Resolves once it would survive power loss. @throws what the disk says. */
  promise(promised: Promised): Promise<void> {
    return this.#write({ promised });
  }

  /** The disk may hold less than it said: it is another one from now on. The promise stays. */
  renew(): Promise<void> {
    return this.#write({ diskId: this.#ports.entropy(ID_SIZE), failed: false });
  }

  /** A sync failed, and the process is about to end: as well as it can be told. */
  markFailed(): void {
    const slot = { ...this.#slot, sequence: this.#slot.sequence + 1, failed: true };
    try {
      this.#file.write(encodeIdentity(slot, this.#ports.crc32), this.#placeOf(slot));
    } catch {
      // the disk that has failed takes nothing more: recovery trusts nothing unsynced anyway
    }
  }

  #placeOf({ sequence }: IdentitySlot): number {
    return (sequence % 2) * IDENTITY_SLOT_SIZE;
  }

  #write(change: Partial<IdentitySlot>): Promise<void> {
    const writing = this.#writing.then(async () => {
      const slot = { ...this.#slot, ...change, sequence: this.#slot.sequence + 1 };
      this.#file.write(encodeIdentity(slot, this.#ports.crc32), this.#placeOf(slot));
      await this.#file.sync();
      this.#slot = slot;
    });
    this.#writing = writing.catch(() => {});
    return writing;
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
  }
}
