/**
 * The `Prefer` header (RFC 7240), as far as we honour it. A preference that is
 * unknown or makes no sense is ignored, as the RFC asks.
 *
 * @module
 */

export interface Preferences {
  /** `return=minimal`: no body, please. */
  readonly returnMinimal: boolean;
  /** `wait=N`, in seconds. */
  readonly waitSeconds: number | undefined;
}

export function preferences(prefer: string): Preferences {
  let returnMinimal = false;
  let waitSeconds: number | undefined;
  for (const preference of prefer.split(",")) {
    const [name = "", value = ""] = (preference.split(";")[0] ?? "").split("=");
    const word = value.trim().replaceAll('"', "");
    switch (name.trim().toLowerCase()) {
      case "return":
        returnMinimal = word === "minimal";
        break;
      case "wait":
        if (/^\d{1,6}(?:\.\d{1,3})?$/.test(word)) waitSeconds = Number(word);
        break;
      default: // ignored
    }
  }
  return { returnMinimal, waitSeconds };
}
