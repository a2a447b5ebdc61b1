// Greys the document where the page renders nothing any more. It stands outside Svelte, whose faults it is there for.

import { FAULT } from "./fault.ts"
import { iconOf } from "./truth/icons.ts"

const LOOK_MS = 500
/** How many looks in a row, 3 s, may find nothing rendered. Looks are counted, not time: of a tab that slept, none were made. */
const LOOKS = 6

/** Counts the looks that find nothing rendered since the one before. Pure. */
export class RenderWatch {
  #isRendered = false
  #missed = 0

  readonly rendered = (): void => {
    this.#isRendered = true
  }

  /** Whether the page stands still. A hidden tab need not render. */
  look(isVisible: boolean): boolean {
    this.#missed = this.#isRendered || !isVisible ? 0 : this.#missed + 1
    this.#isRendered = false
    return this.#missed >= LOOKS
  }
}

/** Begin. Returns what is to be called behind each tick that the page has rendered. */
export function watchRendering(): () => void {
  const watch = new RenderWatch()
  let thaw: (() => void) | null = null
  setInterval(() => {
    const isFrozen = watch.look(!document.hidden)
    if (isFrozen) thaw ??= freeze()
    else thaw = thaw?.() ?? null
  }, LOOK_MS)
  return watch.rendered
}

/** Grey the document, with a word in the band's place (styles/base.css) and in the tab. Returns what undoes it. */
function freeze(): () => void {
  const { title } = document
  const link = document.querySelector<HTMLLinkElement>('link[rel="icon"]')
  const icon = link?.href
  const [frozenTitle, frozenIcon] = [`${FAULT.word} · Predict`, iconOf({ tone: "greyed", shape: "cross" })]
  document.title = frozenTitle
  if (link !== null && frozenIcon !== undefined) link.href = frozenIcon
  document.documentElement.dataset["frozen"] = `${FAULT.word}: ${FAULT.sentence}`
  return () => {
    delete document.documentElement.dataset["frozen"]
    // The page may have written others since.
    if (document.title === frozenTitle) document.title = title
    if (link !== null && icon !== undefined && link.getAttribute("href") === frozenIcon) link.href = icon
  }
}
