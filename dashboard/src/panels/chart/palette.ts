// The colours of the chart, as the browser computes them now.

import { colour } from "../../styles/colours.ts"

const TOKENS = ["call", "put", "none", "text", "quiet", "link", "surface", "line", "edge", "replay"] as const
/** Colours by their names in tokens.css. */
export type Palette = Readonly<Record<(typeof TOKENS)[number], string>>

/** The colours for what may be taken for what it says; else everything that has a meaning is grey. */
export function paletteOf(isTrusted: boolean): Palette {
  const found = Object.fromEntries(TOKENS.map((token) => [token, colour(token)])) as Record<keyof Palette, string>
  const { none, quiet } = found
  return isTrusted ? found : { ...found, call: none, put: none, text: quiet, link: quiet, replay: quiet }
}
