/**
 * Using sidecars without minding their health: what finds one damaged has it
 * built again from its segment, once, and goes on with the new one.
 *
 * @module
 */

import { SidecarDamage, type SidecarFile } from "./sidecar_file.ts";

export interface Sidecars {
  /** By the base of the segment; undefined while there is none in use. */
  at(base: number): SidecarFile | undefined;
  /** The base of the newest one in use that is older than this segment's. */
  before(base: number): number | undefined;
  /** Builds a damaged one again. */
  mend(base: number): Promise<SidecarFile | undefined>;
}

export const NO_SIDECARS: Sidecars = {
  at: () => undefined,
  before: () => undefined,
  mend: async () => undefined,
};

/** What `use` makes of the sidecar; undefined when there is none. */
export async function withSidecar<T>(
  sidecars: Sidecars,
  base: number,
  use: (sidecar: SidecarFile) => Promise<T>,
): Promise<T | undefined> {
  const sidecar = sidecars.at(base);
  if (!sidecar) return undefined;
  try {
    return await use(sidecar);
  } catch (error) {
    if (!(error instanceof SidecarDamage)) throw error;
    const mended = await sidecars.mend(base);
    return mended && (await use(mended));
  }
}
