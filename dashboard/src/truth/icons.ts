// The icon of the tab for each truth: the same colour and shape as in the band.

import type { Truth } from "./truth.ts"

const FILES = import.meta.glob<string>("../assets/icons/*.svg", { query: "?url", import: "default", eager: true })

/** Let the browser fetch all icons, so that it has the one that says that the server is away. */
export function fetchIcons(): void {
  for (const file of Object.values(FILES)) new Image().src = file
}

/** The address of the icon. */
export function iconOf({ tone, shape }: Pick<Truth, "tone" | "shape">): string | undefined {
  return FILES[`../assets/icons/${tone}-${shape}.svg`]
}
