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
  let before: Face | null = null
  setInterval(() => {
    if (watch.look(!document.hidden)) before = frozen(before)
    else if (before !== null) before = thawed(before)
  }, LOOK_MS)
  return watch.rendered
}

/** What the tab shows of the page. */
interface Face {
  readonly title: string
  readonly icon: string | undefined
}

const FROZEN: Face = { title: `${FAULT.word} · Predict`, icon: iconOf({ tone: "greyed", shape: "cross" }) }

/** Grey the document, with a word in the band's place (styles/base.css) and in the tab, again where a part of the page has written there
 * since. Returns what is to be shown afterwards. */
function frozen(before: Face | null): Face {
  const face = shown()
  document.documentElement.dataset["frozen"] = `${FAULT.word}: ${FAULT.sentence}`
  show(FROZEN)
  return before === null || face.title !== FROZEN.title ? face : before
}

function thawed(before: Face): null {
  delete document.documentElement.dataset["frozen"]
  if (document.title === FROZEN.title) show(before)
  return null
}

function iconLink(): HTMLLinkElement | null {
  return document.querySelector('link[rel="icon"]')
}

function shown(): Face {
  return { title: document.title, icon: iconLink()?.href }
}

function show({ title, icon }: Face): void {
  document.title = title
  const link = iconLink()
  if (link !== null && icon !== undefined) link.href = icon
}
