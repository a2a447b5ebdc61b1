// Why there is no trade: the first condition that failed, as a sentence. Pure.

import type { GateResult } from "../../api/types.ts"
import type { TradingSignal } from "../../live/types.ts"
import { GATES, withoutMark } from "../../format/words.ts"

/** The first condition that failed; null where all passed. Those behind it were not checked. */
export function firstFailed(signal: TradingSignal): GateResult | null {
  return signal.gates.find((gate) => gate.passed === false) ?? null
}

/** Why there is no trade, in a sentence; null where there is one. */
export function whyNot(signal: TradingSignal): string | null {
  if (signal.action !== "NO_TRADE") return null
  const gate = firstFailed(signal)
  return withoutMark(gate?.reason ?? signal.reason)
}

/** What a condition that failed means for a trader. */
const FAILED: Readonly<Record<GateResult["gate"], string>> = {
  supported_ticker: "the server has no signals of it",
  market_open: "the market is closed",
  market_data: "what is there does not suffice for a decision",
  model: "there is none for a decision",
  probability: "too near one half for a trade",
}

/** How a condition stands, with a shape that says the same without colour. */
export function stateOf({ passed }: GateResult): { readonly word: string; readonly shape: string } {
  if (passed === null) return { word: "not checked", shape: "·" }
  return passed ? { word: "passed", shape: "✓" } : { word: "failed", shape: "✗" }
}

/** The conditions in a sentence, for the list of them. */
export function gateLine(gate: GateResult): string {
  return `${GATES[gate.gate]}: ${gate.passed === false ? FAILED[gate.gate] : stateOf(gate).word}`
}
