/**
 * A sidecar as it is read: the directory is loaded when first asked for and
 * dropped when cold; units and ids are read where they lie. Every byte read is
 * checked; one that is not what was written makes a {@linkcode SidecarDamage}.
 *
 * @module
 */

import type { Crc32 } from "./base/checksum.ts";
import type { Disk, DiskFile } from "./base/disk.ts";
import { SharedFile } from "./base/shared_file.ts";
import { readSealed, sealedSize } from "./blocks.ts";
import type { QueueMark } from "./consume_queues.ts";
import { DerivedDamage } from "./damage.ts";
import { type SectionName, SectionReader } from "./hash_section.ts";
import { LOG_DIR, segmentBases, sidecarPath } from "./segment.ts";
import {
  decodeSidecarHeader,
  DIRECTORY_ENTRY_SIZE,
  type DirectoryEntry,
  endsIn,
  findEntry,
  marksOf,
  SIDECAR_HEADER_SIZE,
  type SidecarHeader,
} from "./sidecar.ts";
import { UNIT_SIZE, Units } from "./units.ts";

/** A sidecar does not hold what was written: it has to be built again. */
export class SidecarDamage extends DerivedDamage {
  override readonly name = "SidecarDamage";
  readonly base: number;

  constructor(base: number) {
    super(`Cannot read the sidecar of the segment at ${base}: it is damaged`);
    this.base = base;
  }
}

export class SidecarFile {
  readonly #file: DiskFile;
  readonly #header: SidecarHeader;
  readonly #crc32: Crc32;
  /** Messages by their index keys (keys.ts). */
  readonly keys: SectionReader;
  /** What records say about messages (ops.ts). */
  readonly ops: SectionReader;
  readonly #ids: SectionReader;
  #directory: Promise<Uint8Array> | undefined;

  private constructor(file: DiskFile, header: SidecarHeader, crc32: Crc32) {
    this.#file = file;
    this.#header = header;
    this.#crc32 = crc32;
    const read = (position: number, size: number) => this.#read(position, size);
    const section = (name: SectionName) => new SectionReader(header.sections[name], read);
    this.#ids = section("ids");
    this.keys = section("keys");
    this.ops = section("ops");
  }

  get base(): number {
    return this.#header.base;
  }

  get end(): number {
    return this.#header.end;
  }

  /** Undefined when there is no sidecar of this segment, or one that does not tell what it holds. */
  static async open(
    disk: Disk,
    segment: { readonly base: number; readonly end: number },
    crc32: Crc32,
  ): Promise<SidecarFile | undefined> {
    let file: DiskFile;
    try {
      file = await disk.open(sidecarPath(segment.base), { create: false });
    } catch {
      return undefined; // missing: it is derived, so it is built again
    }
    const bytes = await readSealed(file, { from: 0, size: SIDECAR_HEADER_SIZE }, crc32);
    const header = bytes && decodeSidecarHeader(bytes);
    if (header && header.base === segment.base && header.end === segment.end) {
      const sidecar = new SidecarFile(new SharedFile(file), header, crc32);
      if (await sidecar.#isComplete()) return sidecar;
    }
    await file.close();
    return undefined;
  }

  /** Of the right size, with a directory: without one nothing tells how to build it again. */
  async #isComplete(): Promise<boolean> {
    const { from, size } = this.#directoryRange();
    if ((await this.#file.size()) !== sealedSize(from + size)) return false;
    return (await readSealed(this.#file, { from, size }, this.#crc32)) !== undefined;
  }

  /** Messages in its segment that were published with an idempotency key. */
  get keyedCount(): number {
    return this.#header.keyedCount;
  }

  /** Deferred messages in its segment that have index keys. */
  get heldCount(): number {
    return this.#header.heldCount;
  }

  /** The greatest dueAt of a timer or recall in the segment; 0 when there is neither. */
  get timersUntil(): number {
    return this.#header.timersUntil;
  }

  /** The least logOffset of a body that a unit points at; 0 when that is not known. */
  get bodiesFrom(): number {
    return this.#header.bodiesFrom;
  }

  #directoryRange(): { from: number; size: number } {
    const { directoryAt, queueCount } = this.#header;
    return { from: directoryAt, size: queueCount * DIRECTORY_ENTRY_SIZE };
  }

  /** @throws {SidecarDamage} */
  async #read(from: number, size: number): Promise<Uint8Array> {
    const content = await readSealed(this.#file, { from, size }, this.#crc32);
    if (!content) throw new SidecarDamage(this.#header.base);
    return content;
  }

  /** Whether every byte is as it was written. Reads the whole file. */
  async isWhole(): Promise<boolean> {
    const { from, size } = this.#directoryRange();
    const all = { from: 0, size: from + size };
    return (await readSealed(this.#file, all, this.#crc32)) !== undefined;
  }

  async entry(queue: {
    readonly topicGen: number;
    readonly queueId: number;
  }): Promise<DirectoryEntry | undefined> {
    return findEntry(await this.#loadDirectory(), queue);
  }

  /** Its queues as they stood where the segment begins: what it takes to build it again. */
  async marks(): Promise<QueueMark[]> {
    return marksOf(await this.#loadDirectory());
  }

  /** Its queues, from the `first`th on, with the end of their units here. */
  async ends(first = 0): Promise<ReturnType<typeof endsIn>> {
    return endsIn(await this.#loadDirectory(), first);
  }

  #loadDirectory(): Promise<Uint8Array> {
    const { from, size } = this.#directoryRange();
    this.#directory ??= this.#read(from, size).catch((error: unknown) => {
      this.#directory = undefined; // the next look may fare better
      throw error;
    });
    return this.#directory;
  }

  /** Lets go of the directory; the next look loads it again. */
  cool(): void {
    this.#directory = undefined;
  }

  async units(entry: DirectoryEntry, range: { from: number; count: number }): Promise<Units> {
    const count = Math.max(0, Math.min(range.count, entry.count - range.from));
    const position = entry.unitsAt + range.from * UNIT_SIZE;
    return new Units(await this.#read(position, count * UNIT_SIZE));
  }

  /** Places of messages whose id has this hash, newest first. */
  async findIds(hash: number): Promise<number[]> {
    const entries = await this.#ids.entries(await this.#ids.find(hash));
    const places = Array.from({ length: entries.count }, (_, i) => entries.word(i, 1));
    return places.reverse();
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** The bases of all segments, the sidecars of all but the last, and those that have none. */
export async function openSidecars({
  disk,
  crc32,
  report,
}: {
  readonly disk: Disk;
  readonly crc32: Crc32;
  /** Told of those that are there and damaged. */
  report(error: Error): void;
}): Promise<{
  readonly bases: readonly number[];
  readonly files: Map<number, SidecarFile>;
  readonly missing: readonly { readonly base: number; readonly end: number }[];
}> {
  const names = await disk.list(LOG_DIR);
  const bases = segmentBases(names);
  const files = new Map<number, SidecarFile>();
  const missing: { base: number; end: number }[] = [];
  for (const [i, base] of bases.entries()) {
    const end = bases[i + 1];
    if (end === undefined) break;
    const sidecar = await SidecarFile.open(disk, { base, end }, crc32);
    if (sidecar) files.set(base, sidecar);
    else missing.push({ base, end });
    if (!sidecar && names.some((name) => `${LOG_DIR}/${name}` === sidecarPath(base))) {
      report(new SidecarDamage(base));
    }
  }
  return { bases, files, missing };
}
