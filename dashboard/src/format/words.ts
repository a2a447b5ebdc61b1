// The words of the page for what the API names: actions, gates, targets. Pure.

import type { Schemas } from "../api/types.ts"

type Action = Schemas["Action"]

export const ACTIONS: Readonly<Record<Action, string>> = {
  BUY_CALL: "BUY CALL",
  BUY_PUT: "BUY PUT",
  NO_TRADE: "NO TRADE",
}

/** A shape that says the same as the colour of an action. */
export const ACTION_SHAPES: Readonly<Record<Action, string>> = { BUY_CALL: "▲", BUY_PUT: "▼", NO_TRADE: "■" }

/** The colour of an action: `--call`, `--put` or `--none`. */
export const ACTION_TONES: Readonly<Record<Action, "call" | "put" | "none">> = {
  BUY_CALL: "call",
  BUY_PUT: "put",
  NO_TRADE: "none",
}

export const GATES: Readonly<Record<Schemas["GateName"], string>> = {
  supported_ticker: "Supported ticker",
  market_open: "Market open",
  market_data: "Market data",
  model: "Model",
  probability: "Probability",
}

/** What a probability is about, as the end of "the probability that ...". */
export const TARGETS: Readonly<Record<Schemas["Target"], string>> = {
  A: "the day closes above its open",
  B: "the day closes above its 11:00 price",
}

/** The same in short. */
export const TARGETS_IN_SHORT: Readonly<Record<Schemas["Target"], string>> = { A: "above the open", B: "above 11:00" }

/** The words in capitals with underscores that the analyses use, as text: `NO_TRADE` is `no trade`. */
export function inWords(term: string): string {
  return term.replaceAll("_", " ").toLowerCase()
}

/** The same with a capital. */
export function inWordsAtStart(term: string): string {
  const words = inWords(term)
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** A sentence with such words in it, with a capital: `FAILED_LOW_BREAKOUT: ...` is `Failed low breakout: ...`. */
export function inPlainWords(sentence: string): string {
  const plain = sentence.replace(/\b[A-Z]+(?:_[A-Z]+)+\b/g, inWords)
  return plain.charAt(0).toUpperCase() + plain.slice(1)
}

/** A text in parts: words and, at odd places, prices in USD and numbers of per cent. */
export function partsOf(text: string): readonly string[] {
  return text.split(/([+\u2212]?\$[\d,.]*\d|[+\u2212]?[\d.]*\d%)/)
}

/** How the server names a market, which stands before sentences of a market that is not the real one. */
export function withoutMark(sentence: string): string {
  return sentence.replace(/^(DEMO|RECORDED): /, "")
}
